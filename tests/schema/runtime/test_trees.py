"""Large trees end in another thread, however a call goes; what somebody still has is left alone."""

from __future__ import annotations

import threading
from typing import Any

import gevent
import pytest
from lxml import etree

import schema
from schema.rules import RuleSet
from schema.runtime import native, trees
from schema.runtime.native import free_below

if not native.available():
    pytest.skip("no trees in C here", allow_module_level=True)

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="a" maxOccurs="unbounded"><xs:complexType><xs:sequence><xs:element name="b" type="xs:int"/>
  </xs:sequence><xs:attribute name="c" type="xs:ID"/></xs:complexType></xs:element></xs:sequence></xs:complexType>
  </xs:element></xs:schema>"""
COUNT = 4000
LARGE = b"<r>" + b"".join(b'<a c="i%d"><b>1</b></a>' % i for i in range(COUNT)) + b"</r>"


@pytest.fixture(scope="module")
def s() -> schema.Schema:
    return schema.load(XSD).prepare()


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, str]]:
    """Of each tree that ended: whether it was freed without the lock, and in which thread."""
    seen: list[tuple[bool, str]] = []

    def noted(root: etree._Element) -> bool:
        done = free_below(root)
        seen.append((done, "main" if threading.current_thread() is threading.main_thread() else "other"))
        return done

    monkeypatch.setattr(trees, "free_below", noted)
    return seen


def in_hub(function: Any) -> Any:
    try:
        return gevent.spawn(function).get()
    finally:
        gevent.get_hub().destroy(destroy_loop=True)


CALLS = {
    "from_xml": lambda s: s.from_xml(LARGE),
    "validate_xml": lambda s: s.validate_xml(LARGE),
    "to_xml": lambda s: s.to_xml(s.value),
    "validate": lambda s: s.validate(s.value),
    "xml_to_json": lambda s: s.xml_to_json(LARGE),
    "to_json": lambda s: s.to_json(s.value),
    "from_json": lambda s: s.from_json(s.json),
    "json_to_xml": lambda s: s.json_to_xml(s.json),
    "validate_json": lambda s: s.validate_json(s.json),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_ends_its_tree_elsewhere(s: schema.Schema, freed: list[tuple[bool, str]], name: str) -> None:
    s.value = s.from_xml(LARGE)  # type: ignore[attr-defined]
    s.json = s.to_json(s.value)  # type: ignore[attr-defined]
    expected = CALLS[name](s)
    assert not freed  # nobody waits
    assert in_hub(lambda: CALLS[name](s)) == expected
    assert freed == [(True, "other")]


def test_badgerfish_ends_two(s: schema.Schema, freed: list[tuple[bool, str]]) -> None:
    expected = s.xml_to_json(LARGE, mapping="badgerfish")
    assert in_hub(lambda: s.xml_to_json(LARGE, mapping="badgerfish")) == expected
    assert freed == [(True, "other")] * 2


def test_a_tree_that_is_not_valid(s: schema.Schema, freed: list[tuple[bool, str]]) -> None:
    def bad() -> Any:
        with pytest.raises(schema.ValidationError) as caught:
            s.from_xml(LARGE.replace(b"<b>1</b></a></r>", b"<b>x</b></a></r>"))
        return caught.value

    found = in_hub(bad)
    assert found.errors[0].path == f"/r/a[{COUNT}]/b"
    assert found.errors[0].value == "x"
    assert freed == [(True, "other")]


def test_rules_come_before_the_end(s: schema.Schema, freed: list[tuple[bool, str]]) -> None:
    rules = RuleSet("r")
    rules.assertion(lambda r: len(r.a) == COUNT - 1, "one too many")
    obeying = s.with_rules(rules)
    for call in (obeying.from_xml, obeying.validate_xml):
        with pytest.raises(schema.ValidationError, match="one too many"):
            in_hub(lambda call=call: call(LARGE))


def test_what_somebody_has_is_left() -> None:
    root = etree.fromstring(LARGE)
    kept = root[7]
    assert not free_below(root)
    assert (kept[0].text, len(root)) == ("1", COUNT)
    info = root.getroottree().docinfo
    del kept
    assert not free_below(root)
    del info
    assert not free_below(etree.fromstring(LARGE)[0])  # no root
    assert free_below(root)
    assert (len(root), root.text, root.tag) == (0, None, "r")
    assert etree.tostring(root) == b"<r/>"
    assert free_below(root)


def test_everything_that_may_be_in_a_tree() -> None:
    data = b"""<?xml version="1.0"?><!-- c --><r xmlns="urn:a" xmlns:b="urn:b" xml:id="x" b:c="d">t<![CDATA[u]]><?p i?>
      <a xml:id="y" xml:lang="en" long="%b">&#233;&amp;<b:b/>%b</a><!-- c --></r><!-- d --><?q?>""" % (
        b"x" * 5000,
        b"y" * 50_000,
    )
    root = etree.fromstring(data)
    assert free_below(root)
    assert root.get("{urn:b}c") == "d"
    assert root.getroottree().docinfo.encoding is not None
    root.append(etree.fromstring(data))
    assert root.xpath("//@xml:id") == ["x", "x", "y"]


def test_many_threads_at_once(s: schema.Schema) -> None:
    """Names lie in the dictionary of the thread that has parsed, which goes on meanwhile."""
    made: list[Any] = []
    ready = threading.Semaphore(0)

    def parse(number: int) -> None:
        for i in range(60):
            names = [f"n{number}x{i}x{j}" for j in range(200)]
            made.append(etree.fromstring("<r>" + "".join(f"<{n} {n}='1'>{n}</{n}>" for n in names) + "</r>"))
            ready.release()

    makers = [threading.Thread(target=parse, args=(n,)) for n in range(3)]
    for maker in makers:
        maker.start()
    for _ in range(180):
        ready.acquire()
        root = made.pop()
        assert free_below(root)
        del root
    for maker in makers:
        maker.join()
    assert not made
