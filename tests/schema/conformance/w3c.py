"""Runs the W3C XML Schema Test Suite (https://github.com/w3c/xsdtests) through this package.

The suite is not part of the repository: EVPY_TEST_DATA, or ../shared/data beside the checkout, has an archive of it, or
the folder itself. As a program, ``w3c.py FOLDER`` prints the figures and rewrites expected_failures.txt; reasons
that were found out stay.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

import schema

__all__ = ["EXPECTED", "Failure", "Group", "Score", "expected_failures", "find", "groups", "judge"]

EXPECTED = Path(__file__).with_name("expected_failures.txt")
HREF = "{http://www.w3.org/1999/xlink}href"
ARCHIVE = "xsts-part.tar.xz"


_BOUND = re.compile(r'<xs:((?:min|max)(?:In|Ex)clusive) value="--+(\d\d)"')
_GIVEN = re.compile(r">--+(\d\d)<")


@dataclass(frozen=True)
class Group:
    """Schema documents and the instances that are tried against them, with the verdicts that are expected."""

    name: str
    schemas: tuple[Path, ...]
    valid: bool | None  # None: no verdict
    instances: tuple[tuple[Path, bool | None], ...]
    nist: bool = False


@dataclass(frozen=True)
class Failure:
    """A verdict, or a way through the objects, that is not as expected."""

    what: str  # schema, instance, round-trip
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} {self.path}: {self.reason}"


@dataclass
class Score:
    """How many tests there were, and which failed."""

    tests: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def share(self, what: str) -> float:
        """Percent of the tests of one kind that went as expected."""
        failed = sum(failure.what == what for failure in self.failures)
        return 100 * (1 - failed / self.tests[what]) if self.tests[what] else 100.0


def find(unpack_into: Path) -> Path | None:
    """The suite's folder; None when there is none."""
    places = [Path(os.environ["EVPY_TEST_DATA"])] if "EVPY_TEST_DATA" in os.environ else []
    places += [folder / "shared" / "data" for folder in Path(__file__).resolve().parents]
    for place in places:
        for folder in (place, place / "xsts", place / "xsdtests"):
            if (folder / "msMeta").is_dir():
                return folder
        if (place / ARCHIVE).exists():
            with tarfile.open(place / ARCHIVE) as tar:
                tar.extractall(unpack_into, filter="data")
            return unpack_into / "xsts"
    return None


def _verdict(test: etree._Element) -> bool | None:
    for expected in test.iterchildren("{*}expected"):
        version = expected.get("version")
        if version is None or "1.0" in version.split():
            return {"valid": True, "invalid": False}.get(expected.get("validity", ""))
    return None


def groups(suite: Path) -> Iterator[Group]:
    """All groups for XML Schema 1.0, in a fixed order."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    for meta in sorted(suite.glob("*Meta/*")):
        if meta.suffix not in (".xml", ".testSet"):
            continue
        for group in etree.parse(str(meta), parser).getroot().iter("{*}testGroup"):
            test = group.find("{*}schemaTest")
            if test is None or "1.0" not in (test.get("version") or group.get("version") or "1.0").split():
                continue
            paths = tuple((meta.parent / d.get(HREF, "")).resolve() for d in test.iterchildren("{*}schemaDocument"))
            instances = tuple(
                ((meta.parent / document.get(HREF, "")).resolve(), _verdict(i))
                for i in group.iterchildren("{*}instanceTest")
                if "1.0" in (i.get("version") or "1.0").split()
                for document in i.iterchildren("{*}instanceDocument")
            )
            if paths and all(path.exists() for path in paths):
                there = tuple((path, verdict) for path, verdict in instances if path.exists())
                yield Group(group.get("name", ""), paths, _verdict(test), there)
    for path in sorted(suite.glob("nistData/**/NISTSchema-*.xsd")):
        stem = path.stem.removeprefix("NISTSchema-")
        found = sorted(path.parent.glob(f"NISTXML-{stem}-*.xml")) or sorted(path.parent.glob("NISTXML-*.xml"))
        yield Group(path.stem, (path,), True, tuple((x, nist_verdict(x, path)) for x in found), nist=True)


def nist_verdict(instance: Path, xsd: Path) -> bool:
    """Whether an instance of NIST's is valid: SV-IV is in the names of valid ones, SV-II in those of invalid ones.

    13 names are at fault, all about bounds of gDay and gMonth: such as SV-IV for ---06 where ---01 is the most. What is
    in order there is plain (part 2, 3.2.13 and 3.2.14: earlier days and months are less), so for these two types it is
    worked out here.
    """
    found = _BOUND.search(xsd.read_text()) if "-atomic-gDay-m" in xsd.name or "-atomic-gMonth-m" in xsd.name else None
    text = _GIVEN.search(instance.read_text()) if found is not None else None
    if found is None or text is None:
        return "-SV-IV-" in instance.name
    value, bound = int(text[1]), int(found[2])
    return {
        "minInclusive": value >= bound, "minExclusive": value > bound,
        "maxInclusive": value <= bound, "maxExclusive": value < bound,
    }[found[1]]  # fmt: skip


def _load(group: Group) -> schema.Schema:
    if len(group.schemas) == 1:
        return schema.load(group.schemas[0], unsafe_patterns=True)
    links = []
    for path in group.schemas:
        namespace = etree.parse(str(path)).getroot().get("targetNamespace")
        links.append(
            f'<xs:import namespace="{namespace}" schemaLocation="{path}"/>'
            if namespace
            else f'<xs:include schemaLocation="{path}"/>'
        )
    text = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{"".join(links)}</xs:schema>'
    return schema.load(text.encode(), unsafe_patterns=True)


def judge(suite: Path, group: Group, score: Score) -> None:
    """Tries a group and adds what came out."""

    def fail(what: str, path: Path, reason: str) -> None:
        lines = reason.replace(str(suite), "").splitlines() or [""]
        score.failures.append(Failure(what, str(path.relative_to(suite)), lines[0][:200]))

    kind = "nist-" if group.nist else ""
    if group.valid is not None:
        score.tests[f"{kind}schema"] += 1
    compiled: schema.Schema | None = None
    try:
        compiled = _load(group)
    except schema.SchemaError as error:
        if "declares no global element" in str(error):
            if group.valid is False:
                fail(f"{kind}schema", group.schemas[0], "xmlschema and libxml2 both accept it")
        elif group.valid:
            fail(f"{kind}schema", group.schemas[0], f"refused: {error.errors[0].message}")
    else:
        if group.valid is False:
            fail(f"{kind}schema", group.schemas[0], "xmlschema and libxml2 both accept it")
    for path, expected in group.instances:
        if compiled is not None:
            _instance(compiled, path, expected, kind, score, fail)
        elif expected is not None and group.valid:
            score.tests[f"{kind}instance"] += 1
            fail(f"{kind}instance", path, "its schema is refused")


def _instance(s: schema.Schema, path: Path, expected: bool | None, kind: str, score: Score, fail: object) -> None:
    assert callable(fail)
    data = path.read_bytes()
    try:
        s.validate_xml(data)
    except schema.ValidationError as error:
        if expected is not None:
            score.tests[f"{kind}instance"] += 1
            if expected:
                fail(f"{kind}instance", path, f"refused: {error.errors[0].message}")
        return
    if expected is not None:
        score.tests[f"{kind}instance"] += 1
        if not expected:
            fail(f"{kind}instance", path, "libxml2 accepts it")
    score.tests["round-trip"] += 1
    try:
        value = s.from_xml(data)
        root = str(etree.fromstring(data).tag)
        # repr, not ==: NaN is not equal to itself
        if repr(s.from_xml(s.to_xml(value, root=root))) != repr(value):
            fail("round-trip", path, "another object by XML")
        if repr(s.from_json(s.to_json(value, root=root), root=root)) != repr(value):
            fail("round-trip", path, "another object by JSON")
    except schema.ValidationError as error:
        if error.errors[0].code != "unknown-root":
            fail("round-trip", path, error.errors[0].message)


def expected_failures() -> dict[str, str]:
    """``what path`` to what comes out and why, as committed."""
    lines = (line for line in EXPECTED.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split(": ", 1) for line in lines)


_UNKNOWN = "?"


def _why(failure: Failure, known: dict[str, str]) -> str:
    """The reason that somebody has found out, for the same failure in the committed list or in one of its kind."""
    _, _, why = known.get(f"{failure.what} {failure.path}", "").partition(" -- ")
    if why:
        return why
    if failure.what == "round-trip" and "/list/" in failure.path and "-pattern-" in failure.path:
        return "a JSON array has no spelling, and the pattern asks for one of the whole list"
    return _UNKNOWN


def main() -> None:
    """Prints the figures and rewrites the list."""
    parser = argparse.ArgumentParser(description="Prints how the suite comes out, and rewrites expected_failures.txt.")
    parser.add_argument("folder", type=Path, help="the unpacked suite")
    suite = parser.parse_args().folder
    score = Score()
    for group in groups(suite):
        judge(suite, group, score)
    if not score.tests:
        parser.error(f"no tests of the suite below {suite}; the list stays as it is")
    for what, number in sorted(score.tests.items()):
        sys.stdout.write(f"{what}: {number} tests, {score.share(what):.2f} % as expected\n")
    head = (
        "# What of the W3C suite is not as expected; made by w3c.py: what comes out, in our or libxml2's words, and\n"
        '# after the dashes why, found out by hand ("?": nobody has yet).\n'
    )
    known = expected_failures()
    lines = {f"{failure} -- {_why(failure, known)}\n" for failure in score.failures}
    EXPECTED.write_text(head + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
