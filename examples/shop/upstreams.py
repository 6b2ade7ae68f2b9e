"""The two services that the shop calls, stock and exchange rates, played by its workers when there are no others."""

import json
from urllib.parse import parse_qs

from gevent.pywsgi import WSGIServer

RATES = {"EUR": 1.0, "USD": 1.08, "JPY": 163.2}
left = {"1": 100, "2": 100, "3": 2}
reserved = {}  # order: whether there was enough
running = []


def stock(environ):
    if environ["PATH_INFO"] == "/stock":
        return 200, left
    wanted = json.loads(environ["wsgi.input"].read())
    number, article = wanted["order"], str(wanted["article"])
    if number not in reserved:  # the same order may come twice
        reserved[number] = left.get(article, 0) >= wanted["amount"]
        if reserved[number]:
            left[article] -= wanted["amount"]
    return (200 if reserved[number] else 409), {}


def rates(environ):
    currency = parse_qs(environ["QUERY_STRING"]).get("currency", [""])[0]
    return (200, {"rate": RATES[currency]}) if currency in RATES else (404, {})


def start(name):
    """The URL of a service, running in greenlets of this process."""
    service = {"stock": stock, "rates": rates}[name]

    def application(environ, start_response):
        status, answer = service(environ)
        body = json.dumps(answer).encode()
        start_response(f"{status} -", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    server = WSGIServer(("127.0.0.1", 0), application, log=None, error_log=None)
    server.start()
    running.append(server)
    return f"http://127.0.0.1:{server.server_port}"


def stop():
    while running:
        running.pop().stop(timeout=1)
