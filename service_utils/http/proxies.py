"""Which proxy the environment names: http_proxy, https_proxy, no_proxy, as the standard library reads them."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

__all__ = ["environment_proxy"]


def environment_proxy(url: str) -> str | None:
    """The URL of the proxy for this URL; None for none. For ``Client(proxy=environment_proxy)``."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy is None:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
