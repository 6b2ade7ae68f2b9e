"""Draws a result: chart.py RESULT.json CHART.png. Runs in the peers' virtualenv, for matplotlib; knows no benchmark.

Each panel of the result is a group of horizontal bars, one row per server; ours are blue, references hatched.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS, OTHERS = ("#0b5394", "#3d85c6", "#9fc5e8"), ("#7f7f7f", "#a6a6a6", "#cccccc")
REFERENCES = ("evserver-1-thread", "evserver-untold", "evserver-echo", "nginx")


def text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def draw_panel(axes: Any, panel: dict[str, Any]) -> None:
    labels = list(panel["rows"])[::-1]  # the first row on top
    series = panel["series"]
    height = 0.8 / len(series)
    for n in range(len(series)):
        for row, label in enumerate(labels):
            value = panel["rows"][label][n]
            if value is None:
                continue
            at = row + 0.4 - (n + 0.5) * height
            shades = OURS if label.startswith(("evserver", "schema", "efio")) else OTHERS
            hatch = "//" if label in REFERENCES else None
            axes.barh(at, value, height, color=shades[n % len(shades)], hatch=hatch, edgecolor="white", linewidth=0.5)
            axes.annotate(
                f" {text(value)}" + (f"  {series[n]}" if series[n] else ""), (value, at), va="center", fontsize=7
            )
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_title(panel["title"], fontsize=9, loc="left")
    axes.set_xlabel(panel["unit"], fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    if panel["log"]:
        axes.set_xscale("log")
        axes.set_xlim(left=0.5 * min(v for row in panel["rows"].values() for v in row if v))
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)


def main(source: str, target: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    data = json.loads(Path(source).read_text())
    panels = [p for p in data["panels"] if p["rows"]]
    if not panels:
        raise SystemExit("nothing was measured: no chart")
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    bars = max(len(p["rows"]) * max(1, len(p["series"]) * 0.6) for p in panels)
    figure, grid = plt.subplots(lines, columns, figsize=(6 * columns, lines * (1.0 + 0.32 * bars)), squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        draw_panel(axes, panel)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    machine = data["machine"]
    rounds = f"median of {data['rounds']} rounds" if data["rounds"] > 1 else "one round"
    figure.suptitle(f"{data['bench']}: {rounds}, {data['when'][:10]}, {machine['cpu']} ({data['commit']})", fontsize=10)
    figure.tight_layout()
    figure.savefig(target, dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:])
