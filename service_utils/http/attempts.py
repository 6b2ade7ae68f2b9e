"""Trying again, and the circuit breaker, around single exchanges. The policies are in policy.py."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable

from service_utils.http.errors import ConnectFailed, ConnectionLost, HttpClientError, TimedOut
from service_utils.http.origins import Origin, Origins
from service_utils.http.policy import Budget, Retries
from service_utils.http.request import Call
from service_utils.http.response import Response
from service_utils.waiting import sleep

__all__ = ["attempt"]

FAILURES = frozenset({502, 503, 504})  # statuses that say that the server cannot


def attempt(
    call: Call, policy: Retries | None, budget: Budget, origins: Origins, once: Callable[[Origin, Call], Response]
) -> Response:
    """What ``once`` brings: again where that is allowed and makes sense, and not at all while the circuit is open."""
    number = 1
    while True:
        origin = origins.get(call.url, call.certified)
        breaker = origin.breaker
        trial = breaker.enter()
        asked: float | None = None
        problem: HttpClientError | None = None
        response: Response | None = None
        try:
            response = once(origin, call)
        except (ConnectFailed, ConnectionLost, TimedOut) as error:
            breaker.failure(trial)
            problem = error
        except BaseException:
            breaker.cancelled(trial)
            raise
        else:
            if response.status in FAILURES:
                breaker.failure(trial)
            else:
                breaker.success(trial)
            if policy is None or response.status not in policy.statuses:
                return response
            asked = _retry_after(response)
        again = call.body is None or call.body.replayable or not call.sent
        safe = call.idempotent or isinstance(problem, ConnectFailed)
        pause = policy.pause(number, asked) if policy is not None and again and safe else None
        if pause is None or pause >= call.left() or not budget.withdraw():
            if response is not None:
                return response
            assert problem is not None
            raise problem
        if response is not None:
            response.close()
        number += 1
        sleep(pause)


def _retry_after(response: Response) -> float | None:
    """Seconds; RFC 9110 section 10.2.3."""
    text = response.headers.get("retry-after")
    if text is None:
        return None
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, OSError):
        return None
