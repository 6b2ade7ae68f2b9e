"""A program that ends with something open: it ends in silence, and at the server nothing is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service_utils.db import connect

SCRIPT = """
import sys
from service_utils.db import connect

db = connect(sys.argv[1], size=5)
left = [db.begin()]
left[0].execute("insert into item values (2)")
def query():
    rows = db.stream("select id from item union select 7", batch=1)
    next(rows)
    return rows
left.append(query())
left.append(db.pool.acquire())
if db.dialect == "postgresql":
    left.append(db.listen("x"))
print("done")
"""


@pytest.mark.parametrize(
    "runner", [[sys.executable], [str(Path(sys.executable).with_name("evrun"))]], ids=["python", "evrun"]
)
def test_what_is_left_open_at_the_end(url: str, tmp_path: Path, runner: list[str]) -> None:
    with connect(url) as db:
        db.execute("create table item (id integer)")
        db.execute("insert into item values (1)")
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        done = subprocess.run([*runner, str(script), url], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
        assert db.query("select id from item", into=tuple) == [(1,)]
