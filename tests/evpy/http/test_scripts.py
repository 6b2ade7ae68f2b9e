from __future__ import annotations

import inspect
import pickle
import sys

import pytest

from evpy.http.scripts import NameTaken, Scripts, load_script


@pytest.fixture(autouse=True)
def modules():
    """Whatever a test loads is forgotten."""
    before, path = dict(sys.modules), list(sys.path)
    yield
    sys.modules.clear()
    sys.modules.update(before)
    sys.path[:] = path


def write(path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_script_is_a_module(tmp_path) -> None:
    path = write(tmp_path / "shop_main.py", "class Item: pass\nname = __name__\nfile = __file__\n")
    module = load_script(path, "shop_main")
    assert (module.name, module.file) == ("shop_main", path)
    assert sys.modules["shop_main"] is module
    assert pickle.loads(pickle.dumps(module.Item)) is module.Item
    assert inspect.getsource(module.Item) == "class Item: pass\n"


def test_loaded_once(tmp_path) -> None:
    path = write(tmp_path / "once.py", "x = object()\n")
    first = load_script(path, "once")
    assert load_script(path, "once") is first
    second = load_script(path, "once", again=True)
    assert second is not first
    assert sys.modules["once"] is second


def test_an_imported_script_is_the_same_module(tmp_path) -> None:
    path = write(tmp_path / "both_ways.py", "")
    sys.path.insert(0, str(tmp_path))
    import both_ways

    assert load_script(path, "both_ways") is both_ways


def test_a_failing_script_leaves_nothing(tmp_path) -> None:
    path = write(tmp_path / "broken.py", "1/0\n")
    with pytest.raises(ZeroDivisionError):
        load_script(path, "broken")
    assert "broken" not in sys.modules
    write(tmp_path / "broken.py", "x = 1  # mended\n")
    good = load_script(path, "broken")
    write(tmp_path / "broken.py", "raise KeyError  # broken again\n")
    with pytest.raises(KeyError):
        load_script(path, "broken", again=True)
    assert sys.modules["broken"] is good


def test_a_module_may_replace_itself(tmp_path) -> None:
    path = write(tmp_path / "replaced.py", "import sys, types\nsys.modules[__name__] = types.ModuleType('other')\n")
    assert load_script(path, "replaced").__name__ == "other"


@pytest.mark.parametrize("name", ["json", "calendar", "evpy"])
def test_names_of_other_modules(tmp_path, name: str) -> None:
    path = write(tmp_path / f"{name}.py", "")
    with pytest.raises(NameTaken, match=f"{name}.py: '{name}' is the name of a module .*; rename the script"):
        load_script(path, name)


# --- a directory of scripts

PAGE = """
log = []
def on_start(): log.append("start")
def on_stop(): log.append("stop")
"""


def test_scripts_are_loaded_when_asked_for_and_kept(tmp_path) -> None:
    write(tmp_path / "pages_a" / "one.py", PAGE)
    scripts = Scripts(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        scripts.get("pages_a/two.py")
    module = scripts.get("pages_a/one.py")
    assert module.__name__ == "pages_a.one"
    assert module.log == ["start"]
    assert scripts.get("pages_a/one.py") is module
    assert module.log == ["start"]
    scripts.stop()
    assert module.log == ["start", "stop"]


def test_a_failing_start_is_tried_again(tmp_path) -> None:
    write(tmp_path / "late.py", "tries = []\ndef on_start():\n    tries.append(1)\n    assert len(tries) > 1\n")
    scripts = Scripts(str(tmp_path))
    with pytest.raises(AssertionError):
        scripts.get("late.py")
    assert scripts.get("late.py").tries == [1, 1]


def test_stop_goes_backwards_and_past_failures(tmp_path, caplog) -> None:
    order: list[str] = []
    scripts = Scripts(str(tmp_path))
    for name in ("s_one", "s_two", "s_three"):
        write(tmp_path / f"{name}.py", "def on_stop():\n    order.append(__name__)\n    assert __name__ != 's_two'\n")
        scripts.get(f"{name}.py").order = order  # type: ignore[attr-defined]
    scripts.stop()
    assert order == ["s_three", "s_two", "s_one"]
    assert "s_two.py: on_stop() failed" in caplog.text


def test_only_debug_looks_for_changes(tmp_path) -> None:
    for debug, expected in ((False, 1), (True, 22)):
        file = tmp_path / f"changing_{debug}.py"
        write(file, "x = 1\n")
        scripts = Scripts(str(tmp_path), debug=debug)
        assert scripts.get(file.name).x == 1
        write(file, "x = 22\n")
        assert scripts.get(file.name).x == expected
        assert scripts.get(file.name) is scripts.get(file.name)
