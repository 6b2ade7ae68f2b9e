"""What the peers' versions of the fortunes example share."""

import time

WORLDS, SIZE = 10_000, 32
ONE = "select id, randomnumber from world where id = $1"
UPDATE = "update world set randomnumber = $1 where id = $2"
FORTUNE_SQL = "select id, message from fortune"
PAGE = """<!DOCTYPE html><html><head><title>Fortunes</title></head><body>
<table><tr><th>id</th><th>message</th></tr>{}</table></body></html>"""
ROW = "<tr><td>{}</td><td>{}</td></tr>"


def count(text):
    """1 to 500."""
    try:
        n = int(text)
    except ValueError:
        n = 1
    return min(500, max(1, n))


def burn():
    """20 ms of CPU."""
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass
