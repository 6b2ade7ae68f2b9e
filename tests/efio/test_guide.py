"""The guide's examples run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "efio.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)
PRINTED = [
    "0\n1\n4\n9\n16\n",
    "from a thread\n",
    "42\n",
    "{'rate': 100} True 1 0\n",
    "11 rate = 100\n",
    "entry 0\nentry 1\nentry 2\n",
    "line 0\nline 1\nline 2\n",
]


@pytest.mark.parametrize(("example", "printed"), list(zip(EXAMPLES, PRINTED, strict=True)))
def test_example(example: str, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", example], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == (printed, "")
