"""xs:ID and xs:IDREF (part 1, 3.15.4, "Validation Root Valid (ID/IDREF)"), as far as libxml2 does not look at them.

It finds an ID that is twice among attributes; not one that is the text of an element, nor a reference that leads
nowhere. Where a schema has such, ``Tables`` says in which elements and attributes, and they are gone through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lxml import etree

from schema.errors import Problem, ValidationError
from schema.runtime.messages import Paths
from schema.runtime.offload import pace

__all__ = ["Tables", "check_ids"]


@dataclass(frozen=True, slots=True)
class Tables:
    """Names of elements to the names of their attributes, "" for their text, that are IDs and references, with their
    defaults.
    """

    ids: Mapping[str, tuple[tuple[str, str], ...]]
    references: Mapping[str, tuple[tuple[str, str], ...]]


def _texts(element: etree._Element, table: Mapping[str, tuple[tuple[str, str], ...]]) -> Iterator[tuple[str, str]]:
    for name, default in table.get(str(element.tag), ()):
        text = element.get(name, default) if name else element.text or default
        for one in text.split():
            yield name, one


def check_ids(root: etree._Element, tables: Tables, limit: int) -> None:
    """Raises ValidationError for IDs in elements that are there twice, and references that lead nowhere."""
    seen: dict[str, tuple[etree._Element, str]] = {}
    wanted: list[tuple[etree._Element, str, str]] = []
    wrong: list[tuple[etree._Element, str, str, str]] = []
    for element in pace(root.iter(*dict.fromkeys([*tables.ids, *tables.references]))):
        for name, text in _texts(element, tables.ids):
            before = seen.setdefault(text, (element, name))
            if before != (element, name) and not (name and before[1]):  # of two attributes, libxml2 has told
                wrong.append((element, name, text, "cvc-id.2"))
        wanted += [(element, name, text) for name, text in _texts(element, tables.references)]
    lost = {text for _, _, text in wanted if text not in seen}
    look_up = etree.XPathEvaluator(root.getroottree())
    lost = {text for text in pace(lost) if not look_up("id($text)", text=text)}  # where wildcards let it in
    wrong += [(element, name, text, "cvc-id.1") for element, name, text in wanted if text in lost]
    if wrong:
        paths = Paths()
        raise ValidationError([_problem(paths, *one) for one in wrong[:limit]], more=max(0, len(wrong) - limit))


def _problem(paths: Paths, element: etree._Element, name: str, text: str, code: str) -> Problem:
    message = f"The ID {text!r} is there twice." if code == "cvc-id.2" else f"There is no ID {text!r} to refer to."
    path = paths.of(element) + (f"/@{name.rpartition('}')[2]}" if name else "")
    return Problem(code, message, path, element.sourceline, text)
