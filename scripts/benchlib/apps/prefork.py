"""Starts servers that have no command line with workers: prefork.py SERVER APP PORT WORKERS.

Workers are forks: bjoern's share a listening socket, as its documentation shows; fastwsgi and socketify bind one each
with SO_REUSEPORT. The first process is one of the workers, except with fastwsgi, which forks by itself.
"""

import os
import signal
import sys

import work
import wsgi


def fork(workers):
    """Returns in each of ``workers`` processes, the first of which stops the others when it is stopped."""
    children = []
    for _ in range(workers - 1):
        if (pid := os.fork()) == 0:
            return
        children.append(pid)

    def stop(signum, frame):
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)


def bjoern(app, port, workers):
    import bjoern as server

    server.listen(getattr(wsgi, app), "127.0.0.1", port)
    fork(workers)
    server.run()


def fastwsgi(app, port, workers):
    import fastwsgi as server

    server.server.max_content_length = 2_000_000_000
    server.run(getattr(wsgi, app), "127.0.0.1", port, loglevel=2, workers=workers)


def socketify(app, port, workers):
    from socketify import App, AppListenOptions

    fork(workers)
    server = App()

    def hello(res, req):
        res.end(work.HELLO)

    def slow(res, req):
        work.burn()
        res.end(work.HELLO)

    def upload(res, req):
        sha = work.digest()

        def on_data(res, chunk, is_end):
            if chunk:
                sha.update(chunk)
            if is_end:
                res.end(sha.hexdigest())

        res.on_data(on_data)

    server.get("/", hello)
    server.get("/slow", slow)
    server.post("/upload", upload)
    server.listen(AppListenOptions(port=port, host="127.0.0.1"), lambda config: None)
    server.run()


if __name__ == "__main__":
    name, app, port, workers = sys.argv[1:]
    {"bjoern": bjoern, "fastwsgi": fastwsgi, "socketify": socketify}[name](app, int(port), int(workers))
