"""The documents: what they refer to is there, and the index lists all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def links(document: Path) -> list[str]:
    """Targets of the links to files of the repository."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def anchors(document: Path) -> set[str]:
    """The names of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_lists_every_document_and_example() -> None:
    listed = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in links(ROOT / "docs/README.md")}
    assert set(ROOT.glob("docs/*.md")) - {ROOT / "docs/README.md"} <= listed
    assert set(ROOT.glob("examples/*/main.py")) <= listed


def test_files_that_are_named_in_the_architecture_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    for name in re.findall(r"`([\w./-]+)`", text):
        if name.startswith(("evpy/", "efio/", "tests/", "scripts/")):
            assert (ROOT / name).exists(), name
        elif re.search(r"\w\.(py|c)$", name):  # short names of modules
            assert any(list((ROOT / top).glob(f"**/{name}")) for top in ("evpy", "efio")), name
