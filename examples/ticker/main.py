"""Server-sent events: a price that changes, pushed to every browser that looks.

scripts/run examples/ticker/main.py, then http://127.0.0.1:8000/ - or: curl -N 'http://127.0.0.1:8000/events?count=3'
"""

import random

import evpy
from evpy import Event, Response, Router

PAGE = """<!doctype html><meta charset="utf-8"><title>Ticker</title>
<h1>EVPY <span id="price">...</span></h1>
<script>new EventSource("/events").addEventListener("price", e => {
  document.getElementById("price").textContent = JSON.parse(e.data).price.toFixed(2); });</script>"""

handle = Router()


@handle.get("/")
def page(request):
    return Response(PAGE, headers={"Content-Type": "text/html; charset=utf-8"})


@handle.get("/events")
def events(request):
    count = int(request.query.get("count", "1000000"))
    every = float(request.query.get("every", "0.5"))
    number = int(request.last_event_id or 0)

    def prices():
        price = 100.0
        for n in range(number + 1, number + count + 1):
            price += random.uniform(-1, 1)
            yield Event({"n": n, "price": price}, event="price", id=str(n))
            evpy.sleep(every)

    return Response.events(prices())
