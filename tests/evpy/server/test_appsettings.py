"""The [app] table on its way to the handler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Server

from evpy.server import appsettings

APP = """
from evpy.server.appsettings import app_settings

def handle(request):
    return f"{app_settings()['database']} {app_settings()['since']:%Y}"
"""


@pytest.fixture
def provided() -> Iterator[None]:
    yield
    appsettings.provide({})


def test_it_is_empty_until_it_is_provided_and_nobody_can_change_it(provided: None) -> None:
    assert dict(appsettings.app_settings()) == {}
    appsettings.provide({"database": "x"})
    assert appsettings.app_settings()["database"] == "x"
    with pytest.raises(TypeError):
        appsettings.app_settings()["database"] = "y"  # type: ignore[index]


@pytest.mark.parametrize("workers", ["0", "1"])
def test_handlers_see_the_table_of_the_configuration_file(tmp_path: Path, workers: str) -> None:
    (tmp_path / "main.py").write_text(APP)
    config = tmp_path / "evserver.toml"
    config.write_text('[app]\ndatabase = "shop"\nsince = 1979-05-27\n')
    with Server(tmp_path / "main.py", "-w", workers, "-c", str(config)) as server:
        assert server.get("/").body == b"shop 1979"
