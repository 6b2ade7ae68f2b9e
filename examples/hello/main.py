"""The smallest handler script: scripts/run, then http://127.0.0.1:8000/?name=you"""


def handle(request):
    name = request.query.get("name", "world")
    return {"hello": name}
