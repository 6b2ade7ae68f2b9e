"""``evschema``: the command line. Exit codes: 0 valid or done, 1 not valid, 2 the schema or the call is at fault."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from schema._schema import load
from schema.errors import SchemaError, ValidationError

__all__ = ["main"]


def _validate(arguments: argparse.Namespace) -> int:
    compiled = load(arguments.schema)
    status = 0
    for name in arguments.documents:
        try:
            compiled.validate_xml(Path(name).read_bytes())
        except ValidationError as error:
            status = 1
            for problem in error.errors:
                sys.stdout.write(f"{name}: {problem}\n")
        else:
            sys.stdout.write(f"{name}: valid\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evschema", description="Works with XML schemas and their documents.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    validate = commands.add_parser(
        "validate", help="say whether documents are valid, and every fault of those that are not"
    )
    validate.add_argument("schema", help="the .xsd")
    validate.add_argument("documents", nargs="+", help="XML documents")
    validate.set_defaults(run=_validate)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except SchemaError as error:
        sys.stderr.write(f"evschema: {arguments.schema}:\n{error}\n")
    except OSError as error:
        sys.stderr.write(f"evschema: {error.filename}: {error.strerror}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
