"""``evschema``: the command line. Exit codes: 0 valid or done, 1 not valid or not up to date, 2 a fault in schema or
call.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from schema._schema import JsonMapping, Schema, load
from schema.errors import SchemaError, ValidationError
from schema.runtime.judge import MAX_BYTES

__all__ = ["main"]


def _out(text: str) -> None:
    if sys.stdout is not None:  # closed by the shell: >&-
        sys.stdout.write(text)


def _out_bytes(data: bytes) -> None:
    """A document, as it is: in UTF-8, whatever the terminal is set to."""
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data + b"\n")


def _schema_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``load`` and ``compile_schema`` take."""
    return {
        "locations": dict(arguments.location),
        "allow": arguments.allow,
        "unsafe_patterns": arguments.unsafe_patterns,
    }


def _location(text: str) -> tuple[str, str]:
    location, equals, file = text.rpartition("=")
    if not equals or not location or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not such as http://example.com/types.xsd=local/types.xsd")
    return location, os.path.abspath(file)


def _load(arguments: argparse.Namespace) -> Schema:
    return load(arguments.schema, **_schema_options(arguments))


def _size(text: str) -> int:
    if not text.isdecimal() or not 1 <= len(text) <= 18 or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes from 1 on")
    return int(text)


def _load_for_documents(arguments: argparse.Namespace) -> Schema:
    compiled = _load(arguments)
    compiled.max_bytes = arguments.max_bytes
    if arguments.root:
        compiled.root_of(None, arguments.root)  # which says that there is none
    return compiled


def _document(path: str, limit: int) -> bytes:
    """The file, but not more than just too much."""
    with open(path, "rb") as file:
        return file.read(limit + 1)


def _compile(arguments: argparse.Namespace) -> int:
    from schema.codegen.package import Outcome, compile_folder, compile_schema

    source, out = Path(arguments.schema), Path(arguments.out)
    options = {"roots": arguments.root or None, "check": arguments.check, **_schema_options(arguments)}
    results: dict[Path, Outcome | SchemaError]
    if source.is_dir():
        results = compile_folder(source, out, **options)
        if not results:
            sys.stderr.write(f"evschema: {source}: no .xsd in this folder\n")
            return 2
    else:
        results = {source: compile_schema(source, out, **options)}
    status = 0
    for path, result in results.items():
        if isinstance(result, SchemaError):
            sys.stderr.write(f"evschema: {path}:\n{result}\n")
            status = 2
        elif not result.changed:
            _out(f"{result.module}: up to date\n")
        elif arguments.check:
            _out(f"{result.module}: {len(result.changed)} files are not up to date; run evschema compile\n")
            status = max(status, 1)
        else:
            _out(f"{result.module}: {len(result.changed)} files written\n")
    return status


def _validate(arguments: argparse.Namespace) -> int:
    compiled = _load_for_documents(arguments)
    status = 0
    for name in arguments.documents:
        try:
            data = _document(name, compiled.max_bytes)
            if _is_json(name):
                compiled.validate_json(data, root=arguments.root, mapping=arguments.mapping)
            else:
                compiled.validate_xml(data)
        except OSError as error:
            sys.stderr.write(f"evschema: {name}: {error.strerror}\n")
            status = 2
        except ValidationError as error:
            status = max(status, 1)
            for problem in error.errors:
                _out(f"{name}: {problem}\n")
            if error.more:
                _out(f"{name}: and {error.more} more\n")
        else:
            _out(f"{name}: valid\n")
    return status


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def _convert(arguments: argparse.Namespace) -> int:
    compiled = _load_for_documents(arguments)
    data = _document(arguments.document, compiled.max_bytes)
    try:
        if _is_json(arguments.document):
            result = compiled.json_to_xml(data, root=arguments.root, mapping=arguments.mapping)
        else:
            result = compiled.xml_to_json(data, mapping=arguments.mapping)
    except ValidationError as error:
        sys.stderr.write("".join(f"{arguments.document}: {problem}\n" for problem in error.errors))
        return 1
    if arguments.output:
        Path(arguments.output).write_bytes(result)
    else:
        _out_bytes(result)
    return 0


def _sample(arguments: argparse.Namespace) -> int:
    from schema.tools.sample import make

    compiled = _load(arguments)
    root = compiled.root_of(None, arguments.root)
    try:
        value = make(compiled.plan, compiled.classes, root, optional=arguments.depth)
        data = compiled.to_json(value, root=root) if arguments.json else compiled.to_xml(value, root=root)
    except ValidationError as error:
        sys.stderr.write(f"evschema: no valid example could be made up:\n{error}\n")
        return 1
    except ValueError as error:
        sys.stderr.write(f"evschema: no valid example could be made up: {error}\n")
        return 1
    _out_bytes(data)
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from schema.tools.explain import explain

    compiled = _load(arguments)
    _out(explain(compiled.plan, compiled.root_of(None, arguments.root), depth=arguments.depth))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evschema", description="Works with XML schemas and their documents.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, run: object) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.add_argument("schema", help="the .xsd")
        made.add_argument(
            "--location", action="append", type=_location, default=[], metavar="LOCATION=FILE",
            help="the local file for a location or namespace that a schema names; may be given several times",
        )  # fmt: skip
        made.add_argument(
            "--allow", action="append", metavar="FOLDER", help="read schemas in this folder only; likewise"
        )
        made.add_argument("--unsafe-patterns", action="store_true", help="allow patterns that may take long to match")
        made.set_defaults(run=run)
        return made

    def documents(made: argparse.ArgumentParser) -> None:
        made.add_argument("--root", metavar="NAME", help="the root element of JSON documents")
        made.add_argument("--mapping", choices=get_args(JsonMapping), default="natural", help="the form of the JSON")
        made.add_argument(
            "--max-bytes", type=_size, default=MAX_BYTES, metavar="N",
            help="how large a document may be (default: %(default)s)",
        )  # fmt: skip

    made = command("compile", "write typed Python modules for a schema, or for a folder of schemas", _compile)
    made.add_argument("-o", "--out", required=True, metavar="FOLDER", help="the package they go into")
    made.add_argument("--root", action="append", metavar="{NS}NAME", help="an element documents may start with")
    made.add_argument("--check", action="store_true", help="write nothing; exit code 1 unless all is up to date")
    made = command("validate", "say whether documents are valid, and every fault of those that are not", _validate)
    made.add_argument("documents", nargs="+", help="XML documents, or JSON when the name ends in .json")
    documents(made)
    made = command("convert", "XML to JSON, or JSON to XML", _convert)
    made.add_argument("document", help="JSON when the name ends in .json, else XML")
    made.add_argument("-o", "--output", metavar="FILE", help="where to write (default: standard output)")
    documents(made)
    for name, text, run, depth in (
        ("sample", "print a valid example document", _sample, 3),
        ("explain", "print what may stand in what, as a tree", _explain, 6),
    ):
        made = command(name, text, run)
        made.add_argument("--root", metavar="NAME", help="the root element")
        made.add_argument("--depth", type=int, default=depth, help=f"levels of optional content (default: {depth})")
        if name == "sample":
            made.add_argument("--json", action="store_true", help="as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that a terminal without Unicode cannot show
    arguments = _parser().parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except SchemaError as error:
        sys.stderr.write(f"evschema: {arguments.schema}:\n{error}\n")
    except ValidationError as error:
        sys.stderr.write(f"evschema: {error}\n")
    except BrokenPipeError:  # such as | head: nobody wants the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        sys.stderr.write(f"evschema: {error.filename or 'standard output'}: {error.strerror}\n")
        if error.filename is None and sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it would fail again at the end
    except KeyboardInterrupt:
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
