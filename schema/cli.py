"""``evschema``: the command line. Exit codes: 0 valid or done, 1 not valid or not up to date, 2 a fault in schema or
call.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from schema._schema import JsonMapping, Schema, load
from schema.errors import SchemaError, ValidationError

__all__ = ["main"]


def _out(text: str) -> None:
    sys.stdout.write(text)


def _compile(arguments: argparse.Namespace) -> int:
    from schema.codegen.package import Outcome, compile_folder, compile_schema

    source, out = Path(arguments.schema), Path(arguments.out)
    options = {"roots": arguments.root or None, "check": arguments.check, "unsafe_patterns": arguments.unsafe_patterns}
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
    compiled = load(arguments.schema)
    status = 0
    for name in arguments.documents:
        data = Path(name).read_bytes()
        try:
            if _is_json(name):
                compiled.validate_json(data, root=arguments.root, mapping=arguments.mapping)
            else:
                compiled.validate_xml(data)
        except ValidationError as error:
            status = 1
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
    compiled = load(arguments.schema)
    data = Path(arguments.document).read_bytes()
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
        _out(result.decode() + "\n")
    return 0


def _root(compiled: Schema, named: str | None) -> str:
    return compiled.root_of(None, named)


def _sample(arguments: argparse.Namespace) -> int:
    from schema.tools.sample import make

    compiled = load(arguments.schema)
    try:
        root = _root(compiled, arguments.root)
        value = make(compiled.plan, compiled.classes, root, optional=arguments.depth)
        data = compiled.to_json(value, root=root) if arguments.json else compiled.to_xml(value, root=root)
    except ValidationError as error:
        sys.stderr.write(f"evschema: no valid example could be made up:\n{error}\n")
        return 1
    except ValueError as error:
        sys.stderr.write(f"evschema: no valid example could be made up: {error}\n")
        return 1
    _out(data.decode() + "\n")
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from schema.tools.explain import explain

    compiled = load(arguments.schema)
    try:
        root = _root(compiled, arguments.root)
    except ValidationError as error:
        sys.stderr.write(f"evschema: {error}\n")
        return 2
    _out(explain(compiled.plan, root, depth=arguments.depth))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evschema", description="Works with XML schemas and their documents.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, run: object) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.add_argument("schema", help="the .xsd")
        made.set_defaults(run=run)
        return made

    made = command("compile", "write typed Python modules for a schema, or for a folder of schemas", _compile)
    made.add_argument("-o", "--out", required=True, metavar="FOLDER", help="the package they go into")
    made.add_argument("--root", action="append", metavar="{NS}NAME", help="an element documents may start with")
    made.add_argument("--unsafe-patterns", action="store_true", help="allow patterns that may take long to match")
    made.add_argument("--check", action="store_true", help="write nothing; exit code 1 unless all is up to date")
    made = command("validate", "say whether documents are valid, and every fault of those that are not", _validate)
    made.add_argument("documents", nargs="+", help="XML documents, or JSON when the name ends in .json")
    made.add_argument("--root", metavar="NAME", help="the root element of JSON documents")
    made.add_argument("--mapping", choices=get_args(JsonMapping), default="natural", help="the form of the JSON")
    made = command("convert", "XML to JSON, or JSON to XML", _convert)
    made.add_argument("document", help="JSON when the name ends in .json, else XML")
    made.add_argument("-o", "--output", metavar="FILE", help="where to write (default: standard output)")
    made.add_argument("--root", metavar="NAME", help="the root element of a JSON document")
    made.add_argument("--mapping", choices=get_args(JsonMapping), default="natural", help="the form of the JSON")
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
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except SchemaError as error:
        sys.stderr.write(f"evschema: {arguments.schema}:\n{error}\n")
    except ValidationError as error:
        sys.stderr.write(f"evschema: {error}\n")
    except OSError as error:
        sys.stderr.write(f"evschema: {error.filename}: {error.strerror}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
