"""A server that cannot be had: under CI a failure, elsewhere a skip, with the command that installs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import servers


@pytest.mark.parametrize("kind", servers.KINDS)
def test_a_server_that_is_not_installed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "program", lambda *_: None)
    monkeypatch.setattr(servers, "running", {})
    monkeypatch.setattr(servers, "reasons", {})
    servers.start({kind})
    command = rf"is not installed: apt-get install -y --no-install-recommends {servers.DEBIAN[kind]}$"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=command):
        servers.get(kind)
    for value in ("true", "1"):
        monkeypatch.setenv("CI", value)
        with pytest.raises(pytest.fail.Exception, match=command):
            servers.get(kind)
