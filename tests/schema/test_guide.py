"""The ten lines at the beginning of docs/schema.md do what they say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import schema


def blocks(language: str) -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "schema.md").read_text()
    return [part.split("```")[0] for part in text.split(f"```{language}\n")[1:]]


def test_the_first_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("order.xsd").write_text(blocks("xml")[0])
    scope: dict[str, object] = {}
    for line in blocks("python")[0].strip().splitlines():
        code, _, comment = line.partition("  # ")
        if not code.strip():
            continue
        if "ValidationError:" in comment:
            with pytest.raises(schema.ValidationError) as caught:
                exec(code, scope)
            for part in comment.strip().partition(": ")[2].split("..."):
                assert part.strip() in str(caught.value)
        elif comment.strip().startswith(("b'", "Decimal", "True")):
            assert eval(code, scope) == eval(comment, {"Decimal": __import__("decimal").Decimal}), line
        else:
            exec(compile(ast.parse(code), "guide", "exec"), scope)
