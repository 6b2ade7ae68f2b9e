"""Watching source files from a process of its own."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving.watching import watches

from evpy.server.reload import MOST_NAMED, Watcher, readable, watched_folders
from evpy.server.settings import Settings


def test_the_folder_of_the_target_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    monkeypatch.chdir(tmp_path)

    def watched(target: str, **options: object) -> list[str]:
        return watched_folders(Settings(target=target, **options))  # type: ignore[arg-type]

    here = str(tmp_path)
    assert watched("main.py") == [here]
    assert watched("site/main.py") == [f"{here}/site"]
    assert watched("site/main.py:app") == [f"{here}/site"]
    assert watched("site") == [f"{here}/site"]
    assert watched("package.module:app") == [here]
    assert watched("main.py", reload_dir=("site", "/tmp")) == [f"{here}/site", "/tmp"]


def test_a_log_line_names_a_few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    files = [str(tmp_path / f"{n}.py") for n in range(MOST_NAMED + 2)]
    assert readable(files[:2]) == "0.py, 1.py"
    assert readable(files) == "0.py, 1.py, 2.py, 3.py, 4.py and 2 more"


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    (tmp_path / "main.py").touch()
    (tmp_path / "config").mkdir()
    config = tmp_path / "config" / "evserver.toml"
    config.touch()
    made = Watcher(Settings(target=str(tmp_path / "main.py"), config=str(config)))
    yield made
    made.close()


def until(watcher: Watcher, wanted: set[str]) -> None:
    found: set[str] = set()
    while not wanted <= found:
        assert select.select([watcher], [], [], 20)[0], f"only {found} of {wanted}"
        files = watcher.take()
        assert files is not None
        found |= set(files)


def test_changes_of_python_files_and_of_the_configuration_are_told(watcher: Watcher, tmp_path: Path) -> None:
    assert watcher.take() == []
    while not watches(watcher.child.pid, tmp_path):
        assert watcher.child.exit_status() is None
    (tmp_path / "notes.txt").write_text("not source")
    (tmp_path / "main.py").write_text("x = 1")
    until(watcher, {str(tmp_path / "main.py")})
    replacement = tmp_path / "new.toml"
    replacement.write_text("workers = 1")
    os.replace(replacement, tmp_path / "config" / "evserver.toml")  # as editors do
    until(watcher, {str(tmp_path / "config" / "evserver.toml")})


def test_its_end_is_told(watcher: Watcher) -> None:
    watcher.child.send(9)
    assert select.select([watcher], [], [], 20)[0]
    while (files := watcher.take()) is not None:
        assert files == []
