"""A handler that calls two other services in parallel and merges what they say.

scripts/run examples/orchestrator/main.py, then http://127.0.0.1:8000/order/7
The two services are handlers of this same script, called over HTTP as if they were elsewhere; PRICES and STOCK name
others. Plain urllib: it blocks, so it switches.
"""

import json
import os
import urllib.request

import evpy
from evpy import HTTPError, Router

handle = Router()


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)


@handle.get("/order/{number:int}")
def order(request, number):
    here = f"http://{request.host}"
    prices, stock = os.environ.get("PRICES", here), os.environ.get("STOCK", here)
    try:
        price, available = evpy.gather(
            lambda: fetch(f"{prices}/prices/{number}"),
            lambda: fetch(f"{stock}/stock/{number}"),
        )
    except OSError as error:
        raise HTTPError(502, "a service did not answer") from error
    return {"order": number, **price, **available}


@handle.get("/prices/{number:int}")
def prices(request, number):
    evpy.sleep(0.05)
    return {"price": 10 * number}


@handle.get("/stock/{number:int}")
def stock(request, number):
    evpy.sleep(0.05)
    return {"stock": number % 5}
