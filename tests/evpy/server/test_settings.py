"""The dataclass: its table is complete, its objects are valid and travel as JSON, its documentation is up to date."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evpy.errors import UsageError
from evpy.server.binds import Bind
from evpy.server.settings import GROUPS, Option, Settings, options

ROOT = Path(__file__).resolve().parents[3]
BY_NAME = {option.name: option for option in options()}


def test_the_defaults_are_those_that_are_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    expected: dict[str, object] = {
        "target": None,
        "bind": ("127.0.0.1:8000",),
        "workers": 6,
        "threads": 1,
        "concurrency": 1000,
        "io_threads": 1,
        "timeout": 30.0,
        "header_timeout": 10.0,
        "body_timeout": 30.0,
        "body_rate": 240,
        "send_timeout": 30.0,
        "keep_alive": 75.0,
        "grace": 30.0,
        "backlog": 2048,
        "queue": 1024,
        "max_body": 16 << 20,
        "max_body_at": (),
        "max_requests": 0,
        "watchdog": 5.0,
        "watchdog_kill": 60.0,
        "start_timeout": 60.0,
        "switch_interval": 0.0001,
        "patch": True,
        "access_log": None,
        "reload": False,
        "debug": False,
        "app": {},
    }
    settings = Settings()
    assert {name: getattr(settings, name) for name in expected} == expected


def test_every_field_but_app_is_an_option() -> None:
    assert [option.name for option in options()] == [f.name for f in dataclasses.fields(Settings) if f.name != "app"]
    assert {option.group for option in options()} == set(GROUPS)


@pytest.mark.parametrize("option", options(), ids=lambda option: option.name)
def test_an_option_is_fully_described(option: Option) -> None:
    assert option.help
    assert not option.help.endswith(".")
    assert option.kind.expects
    assert option.env == "EVSERVER_" + option.name.upper()
    assert option.key == option.name.replace("_", "-")
    assert option.kind.parse(option.default) == option.default


def test_names_are_unique() -> None:
    shorts = [option.short for option in options() if option.short]
    assert sorted(shorts) == ["-b", "-c", "-t", "-w"]


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().workers = 3  # type: ignore[misc]


FULL: dict[str, Any] = {
    "target": "a/main.py",
    "config": "/etc/e.toml",
    "chdir": "/srv",
    "patch": False,
    "bind": ("[::1]:80", "unix:/run/ü.sock", "fd:3"),
    "unix_mode": "660",
    "workers": 0,
    "timeout": 0.25,
    "max_body": 0,
    "max_body_at": ("/up=10GiB", "/a=b/c=1"),
    "access_log": "-",
    "reload_dir": ("a", "b,c"),
    "app": {"when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "deep": {"list": [1, 2.5, "x\n"], "no": {}}},
}


@pytest.mark.parametrize("settings", [Settings(), Settings(**FULL)], ids=["default", "full"])
def test_settings_travel_as_json(settings: Settings) -> None:
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict(), allow_nan=False))) == settings


def test_an_unknown_field_does_not_travel() -> None:
    with pytest.raises(UsageError, match="unknown setting 'nonsense'"):
        Settings.from_dict({**Settings().to_dict(), "nonsense": 1})


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"workers": -1}, "workers: -1 is not a whole number from 0 to 254"),
        ({"workers": 255}, "workers: 255 is not a whole number from 0 to 254"),
        ({"timeout": 0}, "timeout: 0 is not a number of seconds"),
        ({"bind": ()}, "bind: 0 values: expected 1 to 16"),
        ({"bind": ("nowhere",)}, "bind: 'nowhere' has no port; write 'nowhere:8000'"),
        ({"bind": ("8000", "127.0.0.1:8000")}, "bind: '127.0.0.1:8000' and '8000' are the same address; drop one"),
        ({"server_header": "a\r\nb"}, "server_header: 'a\\r\\nb' contains a control character"),
        ({"server_header": "ü"}, "server_header: 'ü' is not a header value of at most 63 printable ASCII characters"),
        ({"server_header": "x" * 64}, "is not a header value"),
        ({"max_body_at": ("up=1",)}, "max_body_at: 'up=1' is not a path of at most 120 bytes and a size, such as"),
        ({"max_body_at": ("/up",)}, "max_body_at: '/up' is not a path of at most 120 bytes and a size, such as"),
        ({"max_body_at": ("/up=1X",)}, "max_body_at: '1X' is not a size in bytes such as"),
        ({"max_body_at": ("/up=1", "/up=2")}, "max-body-at: a path has two limits: /up=1, /up=2; drop one"),
        ({"watchdog": 61}, "watchdog-kill (60 s) is below watchdog (61 s)"),
    ],
    ids=repr,
)
def test_a_wrong_object_cannot_be_made(values: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**values)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"watchdog": 61, "watchdog_kill": 0},
        {"watchdog": 0},
        {"bind": ("127.0.0.1:0", "0")},
        {"bind": ("127.0.0.1:8000", "[::1]:8000", ":8001")},
        {"server_header": ""},
    ],
    ids=repr,
)
def test_what_only_looks_wrong(values: dict[str, Any]) -> None:
    Settings(**values)


def test_binds_are_parsed() -> None:
    assert Settings(bind=("8000", "unix:x")).binds() == (
        Bind("tcp", "127.0.0.1", 8000),
        Bind("unix", path="x"),
    )


def test_the_documentation_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/docs-settings", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_documentation_names_every_setting() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    for option in options():
        assert re.search(rf"`{option.env}`", page)


def test_a_stale_documentation_is_found(tmp_path: Path) -> None:
    for name in ("scripts/docs-settings", "docs/settings.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text((ROOT / name).read_text().replace("| 2048 |", "| 2049 |"))
    (tmp_path / "evpy").symlink_to(ROOT / "evpy")
    command = [sys.executable, str(tmp_path / "scripts/docs-settings")]
    stale = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert stale.returncode == 1
    assert "is not up to date; run scripts/docs-settings" in stale.stderr
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "docs/settings.md").read_text() == (ROOT / "docs/settings.md").read_text()
