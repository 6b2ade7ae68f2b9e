"""Where a redirect leads, and what stays behind (RFC 9110 section 15.4; the Fetch standard, section 4.4)."""

from __future__ import annotations

from service_utils.http.errors import InvalidRequest, RedirectRefused
from service_utils.http.request import CREDENTIALS, Call
from service_utils.http.response import Response
from service_utils.http.urls import join, parse

__all__ = ["follow"]


def follow(call: Call, response: Response, allow_downgrade: bool) -> bool:
    """Changes ``call`` into what is to be asked next; False when this is no redirect. RedirectRefused.

    301 and 302 make a GET out of a POST, 303 out of everything but HEAD, 307 and 308 change nothing. To another origin
    no credentials travel.
    """
    status = response.status
    if status not in (301, 302, 303, 307, 308):
        return False
    location = response.headers["location"]
    try:
        # The bytes of a Location are UTF-8 in practice; latin-1 is how they came.
        url = parse(join(str(call.url), location.encode("latin-1").decode("utf-8", "replace")))
    except (InvalidRequest, ValueError) as error:
        raise RedirectRefused(f"the redirect leads nowhere: {error}") from None
    old, call.url = call.url, url
    if old.scheme == "https" and url.scheme != "https" and not allow_downgrade:
        call.url = old
        raise RedirectRefused(f"the redirect leads from https to {url}; allow_downgrade=True follows it")
    if url.user is not None:
        raise RedirectRefused(f"the redirect to {url} has credentials in it")
    if (status in (301, 302) and call.method == "POST") or (status == 303 and call.method != "HEAD"):
        call.method = "GET"
        call.idempotent = True
        call.body = None
        call.fields = [field for field in call.fields if not field[0].startswith("content-")]
    elif call.body is not None and not call.body.replayable:
        raise RedirectRefused(f"the redirect to {url} wants the body again, which can be read only once")
    call.fields = [field for field in call.fields if field[0] != "host"]
    if url.origin != old.origin:
        call.fields = [field for field in call.fields if field[0] not in CREDENTIALS]
    return True
