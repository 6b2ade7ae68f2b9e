"""``evrun [options] script.py [args...]``: run a script on the event-driven runtime.

"Exactly like Python" is best done by Python. evrun reads its own options, checks that there is a script, and then
*becomes* the interpreter (``execve``) with the remaining command line, so that ``__main__``, ``sys.argv``,
``sys.path``, tracebacks, exit status, ``-m``, ``-c``, ``-`` and the interpreter's options are its own doing. What has
to happen before the script's first line, gevent's monkey patching above all, is done by a ``sitecustomize`` module that
the environment puts in the interpreter's way (see ``boot``); ``ddtrace-run`` and ``opentelemetry-instrument`` start
programs in the same manner. The environment is back in its original state before the script runs: its child processes
are ordinary Pythons.

Tried and dropped: running the script from here with ``runpy`` or ``exec``. It saves a start of the interpreter (about
15 ms), but our frames show up in tracebacks, ``inspect.stack()`` and warnings, and the ends of a program (Ctrl-C,
a broken pipe, ``sys.exit`` in odd places) have to be imitated one by one.

This module is imported for every start, hence it imports next to nothing.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself would cost more than everything below
if TYPE_CHECKING:
    from typing import Final, NoReturn

__all__ = ["main"]

BOOT_SITE: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "boot_site")
MAX_THREADS: Final = 1024
NO_SCRIPT: Final = "no script given; evrun --help shows what it takes"

HELP: Final = """\
usage: evrun [options] script.py [args...]
       evrun [options] -m module [args...]
       evrun [options] -c code [args...]
       evrun [options] - [args...]            the script comes from standard input

Runs a Python script event-driven: sockets, DNS, sleep, subprocesses, locks and threads
switch greenlets instead of blocking. Everything else is as with python.

  --threads N    offer N scheduler threads to evpy.run_on_any (0 to 1024, default 0)
  --no-patch     leave the standard library alone; only evpy's own functions switch
  -h, --help     show this text and exit
  -V, --version  show the versions of evpy and Python and exit

Options of python that are passed on:  -b -B -d -i -O -OO -P -q -s -u -v -W arg -x -X opt
Options end at the script, -m, -c or -; what follows is the script's own.

kill -USR1 PID prints the stacks of all threads and greenlets to standard error.

examples:
  evrun report.py --since yesterday
  evrun --threads 4 thumbnails.py *.jpg
  evrun -X dev -m http.server 8080
"""

_FLAGS: Final = "bBdiOPqsuvx"
_REFUSED: Final = {
    "E": "unset the PYTHON... variables instead",
    "I": "unset the PYTHON... variables and use -P -s instead",
    "S": "use -s to leave out the user's site-packages",
}


class Usage(Exception):
    """The command line cannot be meant."""


class Command:
    """A command line, taken apart: `python` is what follows the interpreter's name."""

    __slots__ = ("patch", "python", "script", "show", "threads")

    def __init__(self) -> None:
        self.patch = True
        self.threads = 0
        self.show = ""  # "help" or "version": print that and do nothing else
        self.script: str | None = None  # None for -m, -c and -
        self.python: list[str] = []


def parse(arguments: list[str]) -> Command:
    """Read our options, up to the script; everything from there on is left as it is. Raises `Usage`."""
    command = Command()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "-" or not word.startswith("-"):
            break
        if word == "--":
            if not rest:
                raise Usage(NO_SCRIPT)
            word = rest.pop(0)
            break
        if (_long_option if word.startswith("--") else _short_options)(command, word, rest):
            return command
    else:
        raise Usage(NO_SCRIPT)
    command.script = None if word == "-" else word
    command.python += [word, *rest]
    return command


def _long_option(command: Command, word: str, rest: list[str]) -> bool:
    """Apply ``--option``; whether the command line ends with it."""
    option, equals, value = word.partition("=")
    if option == "--threads":
        if not equals:
            if not rest:
                raise Usage(f"--threads needs a number from 0 to {MAX_THREADS}")
            value = rest.pop(0)
        if not (value.isascii() and value.isdigit() and int(value) <= MAX_THREADS):
            raise Usage(f"--threads needs a number from 0 to {MAX_THREADS}, not {value!r}")
        command.threads = int(value)
    elif word == "--no-patch":
        command.patch = False
    elif word in ("--help", "--version"):
        command.show = word[2:]
        return True
    else:
        raise Usage(f"unknown option {word!r}; evrun --help lists the options")
    return False


def _short_options(command: Command, word: str, rest: list[str]) -> bool:
    """Pass on ``-uO``, ``-Wdefault`` or ``-m module``; whether the command line ends with it."""
    for position, letter in enumerate(word[1:], 2):
        if letter in "hV":
            command.show = "help" if letter == "h" else "version"
            return True
        if letter in "WXcm":
            command.python.append(word)
            if position == len(word):  # the argument is the next word
                if not rest:
                    raise Usage(f"option -{letter} needs an argument")
                command.python.append(rest.pop(0))
            if letter in "cm":
                command.python += rest
                return True
            return False
        if letter in _REFUSED:
            raise Usage(
                f"option -{letter} cannot be used: the runtime reaches the interpreter through its environment; "
                + _REFUSED[letter]
            )
        if letter not in _FLAGS:
            raise Usage(f"unknown option '-{letter}'; evrun --help lists the options")
    command.python.append(word)
    return False


def check_script(script: str) -> None:
    """Say what python would say about a script that cannot be read. Opens nothing: the script may be a pipe."""
    try:
        os.stat(script)
        if not os.access(script, os.R_OK):
            raise PermissionError(13, os.strerror(13))
    except (OSError, ValueError) as error:
        reason = f"[Errno {error.errno}] {error.strerror}" if isinstance(error, OSError) else str(error)
        try:
            path = os.path.abspath(script)
        except OSError:  # the current directory has been removed
            path = script
        raise Usage(f"can't open file '{path}': {reason}") from None


def environment(command: Command, outer: dict[str, str], pid: int) -> dict[str, str]:
    """The interpreter's environment: `outer`, our ``sitecustomize`` in front, and the orders for `boot`.

    The orders carry the process id, which the interpreter inherits from us: whatever goes wrong, no other process
    takes them for its own.
    """
    inner = dict(outer)
    path = outer.get("PYTHONPATH")
    inner["PYTHONPATH"] = BOOT_SITE + os.pathsep + path if path else BOOT_SITE
    inner["_EVRUN"] = f"{pid} {int(command.patch)} {command.threads}"
    if path is not None:
        inner["_EVRUN_PYTHONPATH"] = path
    return inner


def main() -> NoReturn:
    """The console script: becomes the interpreter, or exits with 0 (help) or 2 (usage)."""
    try:
        command = parse(sys.argv[1:])
        if command.show:
            _show(command.show)
            raise SystemExit(0)
        if command.script is not None:
            check_script(command.script)
        if not sys.executable:
            raise Usage("cannot tell where the Python interpreter is; start evrun by its full path")
        try:
            os.execve(
                sys.executable, [sys.executable, *command.python], environment(command, dict(os.environ), os.getpid())
            )
        except OSError as error:
            raise Usage(f"cannot start {sys.executable!r}: {error.strerror}") from None
    except Usage as error:
        sys.stderr.write(f"evrun: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _show(what: str) -> None:
    if what == "help":
        sys.stdout.write(HELP)
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("evpy")
    except PackageNotFoundError:  # run from a checkout
        own = "(not installed)"
    sys.stdout.write(f"evrun {own} (Python {sys.version.split()[0]})\n")


if __name__ == "__main__":
    main()
