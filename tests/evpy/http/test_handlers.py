from __future__ import annotations

import sys
import traceback

import pytest

from evpy.errors import StartupError
from evpy.http.handlers import LoadedTarget, load_target

GOOD = "def handle(request):\n    return 'hello'\n"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Each test works in a directory of its own; whatever it loads is forgotten."""
    monkeypatch.chdir(tmp_path)
    before, path = dict(sys.modules), list(sys.path)
    yield tmp_path
    sys.modules.clear()
    sys.modules.update(before)
    sys.path[:] = path


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str = GOOD) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return write


def refused(target: str) -> str:
    with pytest.raises(StartupError) as caught:
        load_target(target).on_start()
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- scripts


def test_a_handler_script(write, tmp_path) -> None:
    write("hello/hello_main.py", "import hello_helper\ndef handle(request):\n    return hello_helper.x, __name__\n")
    write("hello/hello_helper.py", "x = 1\n")
    loaded = load_target("hello/hello_main.py")
    assert isinstance(loaded, LoadedTarget)
    assert loaded.app(None) == (1, "hello_main")
    assert sys.path[0] == loaded.directory == str(tmp_path / "hello")
    assert sys.modules["hello_main"].handle is loaded.app
    assert loaded.source_files() == [str(tmp_path / "hello" / f"hello_{name}.py") for name in ("helper", "main")]
    loaded.on_start()
    loaded.on_stop()


def test_the_directory_comes_first_on_the_path_once(write, tmp_path) -> None:
    write("first_main.py")
    sys.path.append(str(tmp_path))
    load_target(str(tmp_path / "first_main.py"))
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_hooks(write) -> None:
    write("hooked.py", GOOD + "log = []\ndef on_start(): log.append('start')\ndef on_stop(): log.append('stop')\n")
    loaded = load_target("hooked.py")
    log = sys.modules["hooked"].log
    assert log == []
    loaded.on_start()
    assert log == ["start"]
    loaded.on_stop()
    assert log == ["start", "stop"]


def test_a_named_function(write) -> None:
    write(
        "named.py", "def other(request): return 1\nclass app:\n    @staticmethod\n    def handle(request): return 2\n"
    )
    assert load_target("named.py:other").app(None) == 1
    assert load_target("named.py:app.handle").app(None) == 2
    assert refused("named.py:nope") == "named.py: there is no 'nope' in it"
    assert refused("named.py:app.nope") == "named.py: there is no 'app.nope' in it"
    assert refused("named.py") == (
        "named.py: no function handle(request); define it, or serve another one as named.py:app"
    )


def test_a_router_as_handle(write, fake) -> None:
    write(
        "routed.py",
        "from evpy.http.router import Router\nhandle = Router()\n@handle.get('/x')\ndef x(request): return 5\n",
    )
    assert load_target("routed.py").app(fake("GET", "/x")) == 5


# --- what is wrong with a script


def test_missing_files(write, tmp_path) -> None:
    assert refused("none.py") == f"none.py: no such file (the current directory is {tmp_path})"
    assert refused("none.py:x").startswith("none.py: no such file")
    write("present.py")
    assert refused("present") == "present: no such script or directory; did you mean present.py?"
    assert refused("none") == "none: no such script or directory; for a module write module:name"
    write("text.txt")
    assert refused("text.txt") == "text.txt: the name of a handler script ends in .py"


def test_syntax_errors(write) -> None:
    write("bad_syntax.py", "x = 1\ndef handle(request:\n    pass\n")
    assert refused("bad_syntax.py") == "bad_syntax.py:2: SyntaxError: '(' was never closed: def handle(request:"
    write("bad_indent.py", "def handle(request):\nreturn 1\n")
    assert refused("bad_indent.py").startswith("bad_indent.py:2: IndentationError: expected an indented block")
    write("bad_import.py", "import bad_syntax\n")
    assert refused("bad_import.py").startswith("bad_syntax.py:2: SyntaxError")
    write("nul.py", "x\0")
    assert refused("nul.py").endswith("source code string cannot contain null bytes")
    assert "nul.py" in refused("nul.py")


def test_scripts_without_handle(write) -> None:
    write("empty_script.py", "")
    assert refused("empty_script.py") == (
        "empty_script.py: no function handle(request); define it, or serve another one as empty_script.py:name"
    )
    write("no_function.py", "handle = 5\n")
    assert refused("no_function.py") == "no_function.py: 5 is not callable"
    write("no_args.py", "def handle(): pass\n")
    assert "no_args.py: handle() (" in refused("no_args.py")
    assert "cannot be called as handler(request): too many positional arguments" in refused("no_args.py")
    write("is_async.py", "async def handle(request): pass\n")
    assert "is async: write def instead, blocking calls switch by themselves" in refused("is_async.py")
    write("async_hook.py", GOOD + "async def on_start(): pass\n")
    assert "on_start() (" in refused("async_hook.py")
    assert refused("async_hook.py").endswith("is async: write def instead, blocking calls switch by themselves")
    write("bad_hook.py", GOOD + "on_start = 'now'\n")
    assert refused("bad_hook.py") == "bad_hook.py: on_start is str, it must be a function"


def test_an_exception_in_the_script(write, tmp_path) -> None:
    write("raising.py", "import raising_helper\nraising_helper.fail({})\n")
    write("raising_helper.py", "def fail(d):\n    d['x\\ny']\n")
    with pytest.raises(StartupError) as caught:
        load_target("raising.py")
    assert str(caught.value) == "raising_helper.py:2: KeyError: 'x\\ny' (loading raising.py)"
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    assert [(frame.filename, frame.name) for frame in traceback.extract_tb(cause.__traceback__)] == [
        (str(tmp_path / "raising.py"), "<module>"),
        (str(tmp_path / "raising_helper.py"), "fail"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module_x\n", "1: ModuleNotFoundError: No module named 'no_such_module_x'"),
        ("import json\njson.loads('x')\n", "2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("raise RuntimeError('two\\n  lines')\n", "1: RuntimeError: two lines"),
        ("assert 0\n", "1: AssertionError"),
        ("import sys\nsys.exit('bye')\n", "2: the script called sys.exit(bye)"),
        (GOOD + "def on_start():\n    1/0\n", "4: ZeroDivisionError: division by zero"),
    ],
)
def test_where_it_was_raised(write, text: str, message: str) -> None:
    write("s_err.py", text)
    doing = "in on_start() of" if "on_start" in text else "loading"
    assert refused("s_err.py") == f"s_err.py:{message} ({doing} s_err.py)"


def test_ctrl_c_is_not_an_error_of_the_script(write) -> None:
    write("interrupted.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_target("interrupted.py")


def test_names_of_modules(write) -> None:
    write("json.py")
    assert refused("json.py") == "json.py: 'json' is the name of a module of the standard library; rename the script"
    write("pytest.py")
    assert (
        refused("pytest.py") == "pytest.py: 'pytest' is the name of a module that is loaded already; rename the script"
    )


# --- mapping scripts


def test_a_mapping_script(write, fake) -> None:
    write("maps/mapper_a.py", "def map_request(request):\n    return request.path[1:] + '.py:run'\n")
    write("maps/mapped_x.py", "def run(request): return 'x'\nlog = []\ndef on_stop(): log.append('stop')\n")
    loaded = load_target("maps/mapper_a.py")
    assert loaded.app(fake("GET", "/mapped_x")) == "x"
    loaded.on_stop()
    assert sys.modules["mapped_x"].log == ["stop"]
    write("mapper_b.py", GOOD + "def map_request(request): pass\n")
    assert refused("mapper_b.py") == "mapper_b.py: both handle() and map_request() are defined; keep one of them"
    write("mapper_c.py", "def map_request(): pass\n")
    assert "cannot be called as handler(request)" in refused("mapper_c.py")


# --- directories


def test_a_directory(write, fake, tmp_path) -> None:
    write("pages/index.py", GOOD + "started = []\ndef on_start(): started.append(1)\n")
    write("pages/dir_b/page_c.py", "import _shared_x\ndef handle(request): return _shared_x.x\n")
    write("pages/_shared_x.py", "x = 7\n")
    loaded = load_target("pages")
    loaded.on_start()
    assert sys.modules["index"].started == [1]
    assert loaded.app(fake("GET", "/")) == "hello"
    assert loaded.app(fake("GET", "/dir_b/page_c")) == 7
    assert loaded.directory == str(tmp_path / "pages")
    assert str(tmp_path / "pages" / "dir_b" / "page_c.py") in loaded.source_files()
    loaded.on_stop()
    assert load_target("pages/").app(fake("GET", "/")) == "hello"


def test_impossible_directories(write, tmp_path) -> None:
    (tmp_path / "void").mkdir()
    assert refused("void") == (
        "void: there is no handler script in this directory; give it an index.py with handle(request)"
    )
    write("shadows/calendar.py")
    assert refused("shadows") == (
        "shadows/calendar.py: 'calendar' is the name of a module of the standard library; rename the script"
    )
    write("broken_site/index.py", "1/0\n")
    assert refused("broken_site") == (
        "broken_site/index.py:1: ZeroDivisionError: division by zero (loading broken_site/index.py)"
    )


# --- modules


def test_modules(write, tmp_path) -> None:
    write("pkg_m/__init__.py", "")
    write("pkg_m/app.py", "def hello(request): return 'module'\nlog = []\ndef on_start(): log.append(1)\n")
    loaded = load_target("pkg_m.app:hello")
    assert loaded.app(None) == "module"
    loaded.on_start()
    assert sys.modules["pkg_m.app"].log == [1]
    assert loaded.directory == str(tmp_path / "pkg_m")
    assert refused("pkg_m.app:nope") == "pkg_m.app: there is no 'nope' in it"


def test_modules_that_cannot_be_imported(write, tmp_path) -> None:
    assert refused("no_such_m:x") == (
        f"no_such_m:x: there is no module 'no_such_m' in {tmp_path} or among the installed packages"
    )
    write("pkg_n/__init__.py", "")
    assert "there is no module 'pkg_n.nope'" in refused("pkg_n.nope:x")
    write("importing.py", "import no_such_m\n")
    assert (
        refused("importing:x")
        == "importing.py:1: ModuleNotFoundError: No module named 'no_such_m' (importing importing)"
    )


def test_foreign_interfaces_are_recognised(write) -> None:
    write(
        "foreign.py",
        "def application(environ, start_response): pass\nasync def asgi(scope, receive, send): pass\n",
    )
    assert refused("foreign:application") == (
        "foreign:application takes the arguments of WSGI; evserver serves functions handle(request) only"
    )
    assert refused("foreign:asgi").startswith("foreign:asgi takes the arguments of ASGI")
    assert refused("foreign.py:application").startswith("foreign.py:application takes the arguments of WSGI")
