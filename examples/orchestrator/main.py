"""A handler that calls two other services at the same time and merges what they say.

scripts/run examples/orchestrator/main.py, then http://127.0.0.1:8000/order/7
The two services are played by this script, too; PRICES and STOCK name others, as in PRICES=http://prices.internal.
Plain urllib: it looks as if it blocked, and switches.
"""

import http.client
import json
import os
import urllib.request

import evpy
from evpy import HTTPError, Router

PRICES = os.environ.get("PRICES", "http://127.0.0.1:8000")
STOCK = os.environ.get("STOCK", "http://127.0.0.1:8000")

handle = Router()


def ask(service, what, number):
    """The value in an answer such as {"price": 70}."""
    with urllib.request.urlopen(f"{service}/{what}/{number}") as response:
        return json.load(response)[what]


@handle.get("/order/{number:int}")
def order(request, number):
    try:
        with evpy.timeout(5):
            price, stock = evpy.gather(
                lambda: ask(PRICES, "price", number),
                lambda: ask(STOCK, "stock", number),
            )
    except TimeoutError as error:
        raise HTTPError(504, "a service took too long") from error
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:  # no connection, HTTP, JSON, value
        raise HTTPError(502, "a service gave no answer that can be used") from error
    return {"order": number, "price": price, "stock": stock}


@handle.get("/price/{number:int}")
def price(request, number):
    evpy.sleep(0.1)
    return {"price": 10 * number}


@handle.get("/stock/{number:int}")
def stock(request, number):
    evpy.sleep(0.1)
    return {"stock": number % 5}
