"""The four layers: who wins, where a value is said to come from, and one clear line for what is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from evpy.errors import UsageError
from evpy.server.sources import Loaded, load


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "evserver.toml") -> None:
    Path(name).write_text(text)


def refused(flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        load(flags or {}, environ or {})
    line = str(caught.value)
    assert "\n" not in line
    return line


def value(loaded: Loaded, name: str) -> tuple[object, str]:
    return getattr(loaded.settings, name), loaded.origins[name]


def test_later_layers_win() -> None:
    write("threads = 2\nqueue = 2\nbacklog = 2\n")
    loaded = load({"backlog": "4"}, {"EVSERVER_QUEUE": "3", "EVSERVER_BACKLOG": "3", "PATH": "/bin"})
    assert value(loaded, "io_threads") == (1, "default")
    assert value(loaded, "threads") == (2, "evserver.toml line 1: threads")
    assert value(loaded, "queue") == (3, "EVSERVER_QUEUE")
    assert value(loaded, "backlog") == (4, "--backlog")


def test_the_target_is_an_argument() -> None:
    assert value(load({"target": "main.py"}, {}), "target") == ("main.py", "TARGET")


def test_repeatable_values_replace_those_of_earlier_layers() -> None:
    write('bind = [":1", ":2"]')
    assert load({}, {}).settings.bind == (":1", ":2")
    assert load({}, {"EVSERVER_BIND": ":3,:4"}).settings.bind == (":3", ":4")
    assert load({"bind": [":5"]}, {"EVSERVER_BIND": ":3,:4"}).settings.bind == (":5",)


def test_one_value_of_a_repeatable_key_needs_no_array() -> None:
    write('bind = "unix:a.sock"')
    assert load({}, {}).settings.bind == ("unix:a.sock",)


def test_keys_may_have_underscores() -> None:
    write("max_body = 5")
    assert load({}, {}).settings.max_body == 5


def test_an_empty_text_switches_off() -> None:
    write('access-log = "a.log"\npid = "p"')
    loaded = load({"pid": ""}, {"EVSERVER_ACCESS_LOG": ""})
    assert value(loaded, "access_log") == (None, "EVSERVER_ACCESS_LOG")
    assert value(loaded, "pid") == (None, "--pid")


class TestFile:
    def test_it_is_named_by_flag_before_variable_before_default(self) -> None:
        for name, number in (("evserver.toml", 1), ("e.toml", 2), ("f.toml", 3)):
            write(f"threads = {number}", name)
        environ = {"EVSERVER_CONFIG": "e.toml"}
        assert value(load({}, {}), "threads") == (1, "evserver.toml line 1: threads")
        assert value(load({}, {}), "config") == (os.path.abspath("evserver.toml"), "current directory")
        assert value(load({}, environ), "threads") == (2, "e.toml line 1: threads")
        assert value(load({"config": "f.toml"}, environ), "threads") == (3, "f.toml line 1: threads")
        assert value(load({"config": "f.toml"}, environ), "config") == (os.path.abspath("f.toml"), "--config")

    def test_an_empty_name_reads_none(self) -> None:
        write("nonsense = 1")
        assert load({"config": ""}, {}).settings.config is None

    def test_without_one_there_are_defaults(self) -> None:
        assert value(load({}, {}), "config") == (None, "default")

    def test_a_missing_one_is_an_error_when_named(self) -> None:
        assert (
            refused({"config": "no.toml"}) == "cannot read the configuration file 'no.toml': No such file or directory"
        )

    def test_a_directory_is_none(self) -> None:
        assert refused({"config": "."}) == "cannot read the configuration file '.': Is a directory"

    def test_the_table_of_the_application_is_untouched(self) -> None:
        write('threads = 2\n[app]\nworkers = "mine"\n[app.deep]\nx = [1, {y = 2}]')
        loaded = load({}, {})
        assert loaded.settings.app == {"workers": "mine", "deep": {"x": [1, {"y": 2}]}}
        assert loaded.settings.threads == 2

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("\nworker = 3", "evserver.toml line 2: unknown key 'worker'; did you mean 'workers'?"),
            ("'max_bodi' = 3", "evserver.toml line 1: unknown key 'max_bodi'; did you mean 'max-body'?"),
            ("zzz = 3", "evserver.toml line 1: unknown key 'zzz'; docs/settings.md lists the keys"),
            ("config = 'x'", "evserver.toml line 1: unknown key 'config'"),
            (
                "[server]\nworkers = 3",
                "evserver.toml: unknown table [server]; the settings of evserver stand at the top",
            ),
            ("workers = 'many'", "evserver.toml line 1: workers: 'many' is not a whole number from 0 to 254"),
            ("# workers =\nworkers = true", "evserver.toml line 2: workers: True is not a whole number"),
            ("workers.x = 1", "evserver.toml line 1: workers: {'x': 1} is not a whole number"),
            ("max-body = 1\nmax_body = 2", "evserver.toml line 2: max_body: the key is there twice"),
            ("app = 3", "evserver.toml line 1: app: the settings of the application are a table; write [app]"),
            ("workers = 3\nworkers = 4", "evserver.toml: not valid TOML: Cannot overwrite a value"),
            ("workers = ", "evserver.toml: not valid TOML: Invalid value"),
            (f"workers = {'9' * 5000}", "evserver.toml: not valid TOML: Exceeds the limit"),
            (f"x = {'[' * 100_000}", "evserver.toml: not valid TOML: "),
            ("watchdog = 100", "watchdog-kill (60 s) is below watchdog (100 s)"),
        ],
        ids=lambda text: text[:30],
    )
    def test_errors(self, text: str, error: str) -> None:
        write(text)
        assert refused().startswith(error)

    def test_it_is_utf8(self) -> None:
        Path("evserver.toml").write_bytes(b"target = 'caf\xe9.py'")
        assert refused() == "evserver.toml: not UTF-8 (byte 13); TOML files are"

    def test_a_wrong_value_is_an_error_also_when_overridden(self) -> None:
        write("threads = 99")
        assert refused({"threads": "1"}).startswith("evserver.toml line 1: threads: 99 is not")


class TestVariables:
    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("EVSERVER_WORKER", "unknown variable EVSERVER_WORKER; did you mean 'EVSERVER_WORKERS'?"),
            ("EVSERVER_", "unknown variable EVSERVER_; evserver --help lists the settings"),
            ("EVSERVER_APP", "unknown variable EVSERVER_APP"),
        ],
    )
    def test_unknown_ones(self, name: str, error: str) -> None:
        assert refused(environ={name: "1"}).startswith(error)

    def test_wrong_values(self) -> None:
        assert refused(environ={"EVSERVER_QUEUE": ""}).startswith("EVSERVER_QUEUE: '' is not a whole number")

    @pytest.mark.parametrize(
        "name",
        [
            "EVSERVER_PORT",
            "EVSERVER_PORT_8000_TCP",
            "EVSERVER_PORT_8000_TCP_PROTO",
            "EVSERVER_SERVICE_HOST",
            "EVSERVER_SERVICE_PORT",
            "EVSERVER_SERVICE_PORT_HTTP",
        ],
    )
    def test_those_of_kubernetes_are_not_ours(self, name: str) -> None:
        load({}, {name: "tcp://10.0.0.1:8000"})

    def test_flags_are_checked_with_their_name(self) -> None:
        assert refused({"max_body": "5X"}).startswith("--max-body: '5X' is not a size")


class TestSystemd:
    def environ(self) -> dict[str, str]:
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}

    def test_its_sockets_are_the_default(self) -> None:
        assert value(load({}, self.environ()), "bind") == (("fd:3", "fd:4"), "LISTEN_FDS")

    def test_anything_else_wins(self) -> None:
        assert load({"bind": [":1"]}, self.environ()).settings.bind == (":1",)
        write('bind = ":2"')
        assert load({}, self.environ()).settings.bind == (":2",)
