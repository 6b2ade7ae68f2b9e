"""Secrets: where they are found, and that they do not show themselves."""

from __future__ import annotations

import copy
import pickle
import traceback
from pathlib import Path

import pytest

from service_utils.security import MissingSecret, Secret, load_secret


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, credentials = tmp_path / "run", tmp_path / "credentials"
    folder.mkdir()
    credentials.mkdir()

    def found(default: str | None = None) -> str:
        return load_secret("DB_PASSWORD", default, folders=(str(folder),)).reveal()

    with pytest.raises(MissingSecret, match="variables DB_PASSWORD_FILE and DB_PASSWORD, the folder"):
        found()
    assert found("for tests") == "for tests"
    (folder / "db_password").write_text(" from docker \n")
    assert found("for tests") == " from docker "
    (credentials / "DB_PASSWORD").write_text("from systemd\r\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert found() == "from systemd"
    monkeypatch.setenv("DB_PASSWORD", "from the environment\n")
    assert found() == "from the environment\n"
    named = tmp_path / "named"
    monkeypatch.setenv("DB_PASSWORD_FILE", str(named))
    for content in (None, b"", b"\n", b"\xff", b"x" * 2_000_000):
        if content is not None:
            named.write_bytes(content)
        with pytest.raises(MissingSecret, match=r"DB_PASSWORD_FILE .*named"):
            found()
    named.write_text("from the named file")
    assert found() == "from the named file"
    for name in ("", "../etc/passwd", "a b", "a/b"):
        with pytest.raises(ValueError, match="letters"):
            load_secret(name)


def test_does_not_show_itself() -> None:
    secret = Secret("hunter2", "DB_PASSWORD")
    shown = [repr(secret), str(secret), f"{secret}", "%s" % secret, repr([secret]), repr({"a": secret})]  # noqa: UP031
    try:
        raise ValueError(secret)
    except ValueError:
        shown.append(traceback.format_exc())
    assert not any("hunter2" in text for text in shown)
    for function in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="does not travel"):
            function(secret)
    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")
    assert secret != "hunter2"
