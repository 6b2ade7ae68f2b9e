"""The client: what users call, redirects and cookies. Retries are in attempts.py, single exchanges in exchange.py."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http.cookiejar import CookieJar
from time import monotonic
from typing import Any, Self

from service_utils.http import cookies as cookie_store
from service_utils.http.attempts import attempt
from service_utils.http.bodies import NOTHING, Content, make_body
from service_utils.http.decoding import ACCEPTED
from service_utils.http.errors import (
    HttpClientError,
    InvalidRequest,
    RedirectRefused,
)
from service_utils.http.exchange import Limits, exchange
from service_utils.http.origins import Origin, Origins, Tls, basic
from service_utils.http.policy import BreakerPolicy, Budget, Retries, Timeouts
from service_utils.http.redirects import follow
from service_utils.http.request import (
    IDEMPOTENT,
    Auth,
    Call,
    Fields,
    Usual,
    auth_value,
    check_fields,
    check_method,
    encode_fields,
)
from service_utils.http.response import Response
from service_utils.http.urls import Params, Url, join, parse, with_params
from service_utils.names import Resolver, usual
from service_utils.pool import PoolStatistics

__all__ = ["Client"]

USER_AGENT = "evpy"
MAX_SIZE = 64 << 20  # bytes


class Client:
    """Talks to HTTP servers: from greenlets of any hub and from threads, all of which may share it.

    ``base_url``: what relative URLs are relative to. ``headers``, ``auth``: sent with every request; the latter, and
    headers with credentials, to the host of ``base_url`` alone if there is one, and never to where a redirect leads.
    ``timeouts``: seconds; a number is the total. ``retries``, ``breaker``: policies; None for none.
    ``redirects``: so many are followed, 0 for none. ``allow_downgrade``: also from https to http.
    ``limit``: connections to one origin at most. ``max_size``: bytes of a body that is read as a whole, decompressed.
    ``proxy``: URL of an HTTP proxy, or a function of the URL (see ``environment_proxy``). ``verify``: authorities, as
    a path or an ssl.SSLContext; ``certificate``: paths of the client's certificate and key. ``cookies``: False for
    none, or a jar. ``resolver``: of names.

    The methods raise ``HttpClientError`` and ``service_utils.pool.PoolExhausted``.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        headers: Fields | None = None,
        auth: Auth | None = None,
        timeouts: Timeouts | float | None = None,
        retries: Retries | None = Retries(),  # noqa: B008 - it is frozen
        breaker: BreakerPolicy | None = BreakerPolicy(),  # noqa: B008
        redirects: int = 10,
        allow_downgrade: bool = False,
        limit: int = 100,
        max_size: int | None = MAX_SIZE,
        proxy: str | Callable[[str], str | None] | None = None,
        verify: bool | str | ssl.SSLContext = True,
        certificate: tuple[str, ...] | str | None = None,
        cookies: bool | CookieJar = True,
        resolver: Resolver | None = None,
        max_idle: float = 60.0,
    ) -> None:
        self.base_url = base_url
        self._base_origin = parse(base_url).origin if base_url else None
        self.timeouts = _timeouts(timeouts, Timeouts())
        self.retries = retries
        self.redirects = redirects
        self.allow_downgrade = allow_downgrade
        self.max_size = max_size
        self.cookies: CookieJar | None = None
        if cookies is not False:
            self.cookies = cookie_store.make_jar() if cookies is True else cookies
        self._any_cookies = isinstance(cookies, CookieJar)
        fields = check_fields(headers or {})
        if auth is not None:
            fields.append(("authorization", auth_value(auth)))
        self._usual = Usual([("user-agent", USER_AGENT), ("accept-encoding", ACCEPTED), ("accept", "*/*")], fields)
        self._tls = Tls(verify, certificate)
        self._proxy = proxy
        self._budget = Budget(retries.budget, retries.reserve) if retries is not None else Budget(0, 0)
        policy = breaker or BreakerPolicy(failures=sys.maxsize)
        settings = {"size": limit, "max_idle": max_idle, "check_after": max_idle, "timeout": None}
        resolver = resolver or usual

        def make(url: Url, certified: bool) -> Origin:
            origin = Origin(url, self._proxy_for(url), self._tls, resolver, certified, policy, settings)
            proxied = [("proxy-authorization", basic(p.user, p.password))] if (
                origin.absolute and (p := origin.proxy) is not None and p.user is not None) else []  # fmt: skip
            origin.common = encode_fields([("host", url.netloc), *proxied])
            return origin

        self._origins = Origins(make)

    # --- what is asked

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Fields | None = None,
        content: Content | None = None,
        data: Any = None,
        files: Any = None,
        json: Any = NOTHING,
        auth: Auth | None = None,
        timeout: Timeouts | float | None = None,
        redirects: int | None = None,
        retries: Retries | bool | None = None,
        idempotent: bool | None = None,
        max_size: int | None = -1,
        stream: bool = False,
    ) -> Response:
        """Sends a request and reads the answer; with ``stream`` only its head.

        One of ``content`` (bytes, text, an open file, an iterable of bytes), ``data`` (fields of a form), ``files``
        (multipart, together with ``data``) and ``json`` (anything that msgspec encodes) is the body.
        ``timeout``: seconds in all, or ``Timeouts``. ``idempotent``: whether it may be sent twice; default: as the
        method says. ``retries``: False for none. ``max_size``: bytes of the body; what is read in pieces has no limit
        unless this says so.
        """
        method = check_method(method)
        body = None
        try:
            text = join(self.base_url, url)
            if params:
                text = with_params(text, params)
            target = parse(text)
            if content is not None or data is not None or files is not None or json is not NOTHING:
                body = make_body(content, data, files, json)
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"{error.object[error.start]!r} in what is asked cannot be sent as UTF-8") from None
        timeouts = self.timeouts if timeout is None else _timeouts(timeout, self.timeouts)
        call = Call(
            method, target, body, check_fields(headers) if headers else [], timeouts, stream,
            method in IDEMPOTENT if idempotent is None else idempotent,
        )  # fmt: skip
        if auth is not None:
            call.fields.append(("authorization", auth_value(auth)))
        elif target.user is not None:
            call.fields.append(("authorization", basic(target.user, target.password)))
        if self._base_origin is not None and target.origin != self._base_origin:
            call.trusted = call.certified = False
        call.deadline = monotonic() + timeouts.total
        policy = self.retries if retries is None or retries is True else retries or None
        limits = (self.max_size, None) if max_size == -1 else (max_size, max_size)
        self._budget.deposit()
        try:
            return self._follow(call, self.redirects if redirects is None else redirects, policy, limits)
        except HttpClientError as error:
            if not error.url:
                error.url = str(call.url)
                error.args = (f"{call.method} {call.url}: {error}",)
            raise

    def get(self, url: str, **more: Any) -> Response:
        """``request("GET", ...)``"""
        return self.request("GET", url, **more)

    def head(self, url: str, **more: Any) -> Response:
        """``request("HEAD", ...)``"""
        return self.request("HEAD", url, **more)

    def post(self, url: str, **more: Any) -> Response:
        """``request("POST", ...)``"""
        return self.request("POST", url, **more)

    def put(self, url: str, **more: Any) -> Response:
        """``request("PUT", ...)``"""
        return self.request("PUT", url, **more)

    def patch(self, url: str, **more: Any) -> Response:
        """``request("PATCH", ...)``"""
        return self.request("PATCH", url, **more)

    def delete(self, url: str, **more: Any) -> Response:
        """``request("DELETE", ...)``"""
        return self.request("DELETE", url, **more)

    def stream(self, method: str, url: str, **more: Any) -> Response:
        """``with client.stream("GET", url) as response: for piece in response.iter_bytes(): ...``"""
        return self.request(method, url, stream=True, **more)

    def gather(
        self, *requests: str | Mapping[str, Any], limit: int | None = None, return_exceptions: bool = False
    ) -> list[Any]:
        """The answers to several requests at the same time, in their order; ``limit`` of them at a time.

        A request is a URL or the arguments of ``request`` in a dict (``method`` is GET unless given). The first error
        ends the others, unless ``return_exceptions`` puts it into the list.
        """
        from evpy import gather

        calls = []
        for one in requests:
            arguments = {"url": one} if isinstance(one, str) else one
            calls.append(partial(self.request, **{"method": "GET", **arguments}))
        return gather(*calls, limit=limit, return_exceptions=return_exceptions)

    # --- looking at it, and the end

    def statistics(self) -> dict[str, PoolStatistics]:
        """Of the connections to each origin."""
        return {origin.pool.name: origin.pool.statistics() for origin in self._origins}

    def circuits(self) -> dict[str, str]:
        """closed, open or half-open, for each origin."""
        return {origin.pool.name: origin.breaker.state for origin in self._origins}

    def close(self, timeout: float = 0.0) -> bool:
        """Ends idle connections, waits up to ``timeout`` s for the others; whether all were given back."""
        return self._origins.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- how it is done

    def _proxy_for(self, url: Url) -> Url | None:
        proxy = self._proxy(str(url)) if callable(self._proxy) else self._proxy
        if not proxy:
            return None
        try:
            found = parse(proxy)
        except InvalidRequest as error:
            raise InvalidRequest(f"proxy: {error}") from None
        if found.scheme != "http":
            raise InvalidRequest(f"proxy {found}: give one that begins with http://")
        return found

    def _follow(self, call: Call, redirects: int, policy: Retries | None, limits: Limits) -> Response:
        """Redirects."""
        history: list[Response] = []
        seen: set[tuple[str, str, str]] = set()
        while True:
            cookie = self._cookie(call) if self._any_cookies else ""
            once = partial(exchange, usual=self._usual, cookie=cookie, limits=limits)
            response = attempt(call, policy, self._budget, self._origins, once)
            if self.cookies is not None:
                self._keep_cookies(response, call.url)
            if not (redirects and 300 < response.status < 309 and "location" in response.headers):
                if history:
                    response.history = history
                return response
            seen.add((call.method, str(call.url), cookie))
            old = call.url
            try:
                if not follow(call, response, self.allow_downgrade):
                    return response
                if call.url.origin != old.origin:
                    call.trusted = call.certified = False
                asked = (call.method, str(call.url), self._cookie(call) if self._any_cookies else "")
                if asked in seen:
                    raise RedirectRefused(f"redirected in a circle: back to {call.url}")
                if len(history) >= redirects:
                    raise RedirectRefused(f"more than {redirects} redirects, the last one to {call.url}")
            except BaseException:
                response.close()
                raise
            if call.stream:
                self._drain(response)
            history.append(response)

    def _cookie(self, call: Call) -> str:
        if self.cookies is None or any(name == "cookie" for name, _ in call.fields):
            return ""
        return cookie_store.to_send(self.cookies, call.url)

    def _keep_cookies(self, response: Response, url: Url) -> None:
        values = [value.decode("latin-1") for name, value in response._fields
                  if len(name) == 10 and name.lower() == b"set-cookie"]  # fmt: skip
        if values and self.cookies is not None:
            cookie_store.store(self.cookies, url, values)
            self._any_cookies = True

    @staticmethod
    def _drain(response: Response) -> None:
        """The rest of a short body, so that its connection serves again."""
        connection = response._connection
        if connection is not None and not connection.complete:
            try:
                response._limit = 4096
                response.read()
            except HttpClientError:
                pass
        response.close()


def _timeouts(given: Timeouts | float | None, usual: Timeouts) -> Timeouts:
    if given is None or isinstance(given, Timeouts):
        return given or usual
    return replace(usual, total=given)
