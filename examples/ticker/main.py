"""Server-sent events: a price that changes, pushed to every browser that looks.

scripts/run examples/ticker/main.py, then http://127.0.0.1:8000/ - or: curl -N http://127.0.0.1:8000/events
A browser whose connection breaks comes back with the id of the last event that it has seen, and goes on from there,
whichever worker it finds: the n-th price is the same in all of them.
"""

import itertools
import math
import random

import evpy
from evpy import Event, HTTPError, Response, Router

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Ticker</title>
<h1>EVPY <span id="price">...</span></h1>
<script>new EventSource("/events").addEventListener("price", event => {
  document.getElementById("price").textContent = JSON.parse(event.data).price.toFixed(2); });</script>"""

handle = Router()


def prices(start):
    for n in itertools.count(start):
        price = 100 + 10 * math.sin(n % 600 * math.pi / 300) + random.Random(n).uniform(-1, 1)
        yield Event({"n": n, "price": price}, event="price", id=str(n))
        evpy.sleep(0.5)


@handle.get("/")
def page(request):
    return Response(PAGE, content_type="text/html; charset=utf-8")


@handle.get("/events")
def events(request):
    try:
        last = int(request.last_event_id or 0)
    except ValueError:
        raise HTTPError(400, "Last-Event-ID is not one of ours") from None
    return Response.events(prices(last + 1))  # closed when the browser goes away
