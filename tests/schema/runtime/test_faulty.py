"""Documents with very many faults are refused in little time, with the first of them; all others as ever."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

import schema
from schema.runtime import faulty, native

S = schema.load(
    b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="g" maxOccurs="unbounded"><xs:complexType><xs:sequence>
    <xs:element name="d" type="xs:date" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>
    <xs:attribute name="n" type="xs:int"/></xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element></xs:schema>"""
)
GOOD, BAD, SPACE = "<d>2024-01-01</d>", "<d>x</d>", "<d> 2024-01-01 </d>"
MANY = 3000


@pytest.fixture(params=["C", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few affordable faults: about twenty."""
    monkeypatch.setattr(faulty, "AFFORDABLE", 20.0 * 3 * MANY)
    if request.param == "Python":
        monkeypatch.setattr(native, "_tree", None)


def document(*parts: str) -> bytes:
    return f"<r><g>{''.join(parts)}</g></r>".encode()


def problems(data: bytes) -> schema.ValidationError:
    with pytest.raises(schema.ValidationError) as caught:
        S.from_xml(data)
    return caught.value


def test_too_many_faults_to_tell_all(way: None, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []
    entries = S.judge.entries
    monkeypatch.setattr(S.judge, "entries", lambda root: judged.append(len(root[0])) or entries(root))
    found = problems(document(*[GOOD] * MANY, *[BAD] * MANY))
    assert [problem.path for problem in found.errors] == [f"/r/g/d[{MANY + 1 + n}]" for n in range(len(found.errors))]
    assert len(found.errors) > 50
    assert found.errors[0].value == "x"
    assert found.more >= 1
    assert judged
    assert max(judged) < 2 * MANY - 1000  # only a beginning of it


@pytest.mark.parametrize("number", [1, 10])
def test_few_faults(way: None, number: int) -> None:
    data = document(*[GOOD] * MANY, *[BAD] * number, *[GOOD] * MANY)
    found = problems(data)
    assert [problem.path for problem in found.errors] == [f"/r/g/d[{MANY + 1 + n}]" for n in range(number)]
    assert not found.more


def test_none(way: None) -> None:
    assert len(S.from_xml(document(*[GOOD] * MANY * 2)).g[0].d) == 2 * MANY


def test_attributes_count(way: None) -> None:
    data = "".join('<g n="x"/>' for _ in range(2 * MANY))
    found = problems(f"<r>{data}</r>".encode())
    assert found.errors[3].path == "/r/g[4]/@n"


def test_white_space_is_no_fault_but_may_be_too_much(way: None) -> None:
    S.from_xml(document(*[SPACE] * 10, *[GOOD] * 2 * MANY))
    with pytest.raises(schema.LimitExceeded, match="white space around"):
        S.from_xml(document(*[SPACE] * 2 * MANY))


def test_the_tree_is_as_it_was() -> None:
    if not native.available():
        pytest.skip("no C here")
    root = etree.fromstring(b"<r>a<b/>c<d><e/><f/></d><!-- g --><h/></r>")
    seen: list[Any] = []

    def validate(tree: etree._Element) -> bool:
        seen.extend(one.getprevious() for one in tree.iter("b", "d", "f", "h"))
        raise ValueError("x")

    def before() -> list[Any]:
        return [one.getprevious() for one in root.iter()]

    expected = before()
    with pytest.raises(ValueError, match="x"):
        native.validate_apart(root, validate)
    assert seen == [None] * 4
    assert before() == expected
    assert native.validate_apart(root, lambda _: True) is True


def test_both_count_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    if not native.available():
        pytest.skip("no C here")
    root = etree.fromstring(b'<r><a/><a x="1" y="2"><b/><b/></a><c><d><e/></d></c></r>')
    in_c = native.path_costs(root)
    monkeypatch.setattr(native, "_tree", None)
    assert native.path_costs(root) == in_c == (1 + 2 * 3 + 3 + 4 + 3 + 4 + 5, 5)


def test_paths_are_told_in_time_that_does_not_depend_on_their_number() -> None:
    """Each list of siblings is walked over once, not once for each problem."""
    from schema.runtime.messages import Paths

    root = etree.fromstring(b"<r>" + b"<d/>" * 1000 + b"<e/></r>")
    paths = Paths()
    counted: list[int] = []
    numbered = paths._numbered
    paths._numbered = lambda parent: counted.append(1) or numbered(parent)  # type: ignore[method-assign]
    assert [paths.of(one) for one in root][:2] == ["/r/d[1]", "/r/d[2]"]
    assert paths.of(root[-1]) == "/r/e"
    assert len(counted) == 1
