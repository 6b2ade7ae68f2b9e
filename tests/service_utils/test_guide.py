"""The guide's examples run as they are written, but for the addresses of servers."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import servers

GUIDE = Path(__file__).parents[2] / "docs" / "service_utils.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)
PRINTED = [
    r"\[\{'id': 1, 'name': 'tea'\}, \{'id': 2, 'name': 'coffee'\}\]\n2\n",
    r"200\n\[200, 404, 200\]\nTrue\n",
    r"looked up\n3\.2 3\.2\nTrue True\n",
    r"\[\{'id': 1, 'name': 'mint'\}\] \(1, 'mint'\) \[2\]\n",
    r"PoolStatistics\(name='my service', .*\)\n",
    r"ann\nTrue False\nfor nobody else\n",
    r"\S+Z INFO     \[shop \d+\] shop: sold user=ann order=7 item=5\n",
    r"ann@example.org \['order.csv'\]\n",
    r"b\"name.*'=1\+1,3.*\n\[Item\(name='tea', count=2\)\] \[Item.*'=1\+1', count=3\)\]\n{'a': \[1, 2.5, b'x'\]}\n",
]
SERVERS = {"redis": "redis://127.0.0.1:6379/0", "tarantool": "tarantool://127.0.0.1:3301"}


@pytest.fixture(scope="session", autouse=True)
def _servers(_session_leaves_nothing: None) -> Iterator[None]:
    servers.start(set(SERVERS))
    yield
    servers.stop()


@pytest.mark.parametrize(("example", "printed"), list(zip(EXAMPLES, PRINTED, strict=True)))
def test_example(example: str, printed: str) -> None:
    for kind, address in SERVERS.items():
        if address in example:
            server = servers.get(kind)
            server.empty()
            example = example.replace(address, server.url)
    done = subprocess.run(
        [sys.executable, "-P", "-c", example], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert re.fullmatch(printed, done.stdout), done.stdout
