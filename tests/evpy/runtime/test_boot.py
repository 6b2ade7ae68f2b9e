"""What evrun leaves behind in the interpreter that it starts: the runtime, and no trace of how it got there."""

from __future__ import annotations

import os
import subprocess
import sys

from evpy.runtime import evrun

LIMIT = 60  # seconds


def run(*args, env=None):
    return subprocess.run(
        [sys.executable, "-m", "evpy.runtime.evrun", *args],
        capture_output=True, text=True, timeout=LIMIT, check=False, env=os.environ | (env or {}),
    )  # fmt: skip


def search_path(*entries) -> str:
    return os.pathsep.join([*map(str, entries), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_the_environment_is_as_it_was(tmp_path):
    code = """if True:
        import os, sys
        print(os.environ.get('PYTHONPATH'), [n for n in os.environ if 'EVRUN' in n], 'boot_site' in str(sys.path))"""
    path = search_path(tmp_path)
    assert run("-c", code, env={"PYTHONPATH": path}).stdout == f"{path} [] False\n"


def test_the_sitecustomize_that_ours_hides_is_imported(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import time\nwitness = time.sleep.__module__\n")
    got = run(
        "-c", "import sitecustomize as s; print(s.__file__, s.witness)", env={"PYTHONPATH": search_path(tmp_path)}
    )
    assert got.stdout == f"{tmp_path}/sitecustomize.py gevent.hub\n"
    assert got.stderr == ""


def test_an_error_in_the_hidden_sitecustomize_is_shown_as_python_shows_it(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import no_such_module_here\n")
    env = {"PYTHONPATH": search_path(tmp_path)}
    got = run("-c", "print('ran')", env=env)
    assert got.stdout == "ran\n"
    assert "no_such_module_here" in got.stderr


def test_without_gevent_it_is_one_line_and_exit_3(tmp_path):
    (tmp_path / "gevent.py").write_text(
        "import warnings; warnings.warn('old')\nraise ModuleNotFoundError(\"No module named 'gevent'\")"
    )
    got = run("-W", "error", "-c", "print('ran')", env={"PYTHONPATH": search_path(tmp_path)})
    assert got.returncode == 3
    assert got.stdout == ""
    assert got.stderr == "evrun: the runtime cannot start: ModuleNotFoundError: No module named 'gevent'\n"


def test_warnings_as_errors_are_for_the_script_only():
    got = run("-W", "error", "-c", "import warnings; print('ran'); warnings.warn('mine')")
    assert got.stdout == "ran\n"
    assert got.stderr.endswith("UserWarning: mine\n")


def test_orders_for_another_process_are_not_obeyed():
    command = evrun.parse(["x.py"])
    env = evrun.environment(command, dict(os.environ), os.getpid())
    code = "import time, os, sys; print(time.sleep, [n for n in os.environ if 'EVRUN' in n], 'gevent' in sys.modules)"
    got = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=False, env=env
    )
    assert got.stdout == "<built-in function sleep> [] False\n"


def test_nothing_of_the_scripts_directory_shadows_what_the_runtime_imports(tmp_path):
    (tmp_path / "greenlet.py").write_text("raise RuntimeError('shadowed')")
    (tmp_path / "main.py").write_text("print('ran')")
    got = run(str(tmp_path / "main.py"))
    assert (got.stdout, got.stderr) == ("ran\n", "")
