"""Tables and plots from committed results: `./run bench report` writes docs/performance.md's pictures and both tables.

Reads `benchmarks/results/*.json`, one file a machine and geometry, as `./run bench --json FILE` writes them. Text
between the markers `<!-- bench -->` and `<!-- /bench -->` of README.md and docs/performance.md is replaced; `--check`
only says whether it would change.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
PICTURES: Final = ROOT / "docs" / "performance"
PAGES: Final = ("README.md", "docs/performance.md")
GEOMETRIES: Final = {"tiny": "embedded model", "2b": "Qwen2-VL 2B shape", "7b": "Qwen2-VL 7B shape"}
METRICS: Final = {
    "1": "whole job from frames, against plain transformers",
    "2": "the same, against careful transformers (pictures once, batches)",
    "3": "caption and 12 scores, over the caption alone (lower is better)",
    "4": "a later question on 1080p, against starting from the file",
    "5": "file to patches, 1080p, against qwen-vl-utils' way",
    "6": "vision tower, against the library's",
    "7": "many texts at once, against the library's cache",
    "8": "proxies to results, over the slower half alone",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the pages are not up to date")
    options = parser.parse_args()
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))]
    stale = []
    for name in PAGES:
        page = ROOT / name
        before = page.read_text(encoding="utf-8")
        after = between_markers(before, table(results))
        if after != before:
            stale.append(name)
            if not options.check:
                page.write_text(after, encoding="utf-8")
    if options.check:
        print("\n".join(f"{name} is not what the results say" for name in stale), end="\n" if stale else "")
        return 1 if stale else 0
    for result in results:
        if "curves" in result:
            draw(result)
    return 0


def table(results: list[dict[str, Any]]) -> str:
    """One row a metric, one column a geometry; what no machine ran says so."""
    columns = {geometry: [r for r in results if r["geometry"] == geometry] for geometry in GEOMETRIES}
    lines = [
        "| | " + " | ".join(GEOMETRIES.values()) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for key, name in METRICS.items():
        cells = [_cell(found[0]["metrics"].get(key) if found else None) for found in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", *[_machine(result) for result in results]]
    return "\n".join(lines)


def _cell(metric: dict[str, Any] | None) -> str:
    if metric is None or metric["ratio"] is None:
        return "not measured"
    return f"**{metric['ratio']:.2f}** ({metric['low']:.2f} to {metric['high']:.2f})"


def _machine(result: dict[str, Any]) -> str:
    hardware, versions = result["hardware"], result["versions"]
    where = hardware["gpu"] or f"{hardware['cores']} cores of {hardware['cpu']}"
    return (
        f"{GEOMETRIES[result['geometry']].capitalize()}: {where}, {result['dtype']}, torch {versions['torch']}, "
        f"transformers {versions['transformers']}; median (lowest to highest) of {result['rounds']} rounds."
    )


def between_markers(page: str, text: str) -> str:
    """The page with what stands between its markers replaced. Raises `ValueError` for a page without them."""
    found, count = re.subn(
        r"(<!-- bench -->\n).*?(<!-- /bench -->)", lambda match: f"{match[1]}{text}\n{match[2]}", page, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError("the page has no place for the table")
    return found


def draw(result: dict[str, Any]) -> None:
    """The curves as SVG, the same bytes for the same results."""
    mpl.rcParams.update({"svg.hashsalt": "vidlm", "font.size": 9})
    curves, geometry = result["curves"], result["geometry"]
    policies, memory = curves["by_policies"], curves["memory_by_policies"]
    segments, length = curves["by_segments"], curves["by_length"]
    plots = {
        "policies": (policies["policies"], policies["seconds"], "policies scored", "seconds for a segment"),
        "memory": (memory["policies"], memory["peak_mb"], "policies scored", "peak memory, MB"),
        "segments": (segments["segments"], segments["seconds"], "segments asked for at once", "seconds"),
        "length": (length["video_s"], length["seconds"], "seconds of video", "seconds"),
        "length-memory": (length["video_s"], length["peak_mb"], "seconds of video", "peak memory, MB"),
    }
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, (xs, ys, across, up) in plots.items():
        figure = Figure(figsize=(4.2, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(xs, ys, marker="o", markersize=3, linewidth=1.2, color="#1f6f8b")
        axes.set(xlabel=across, ylabel=up, ylim=(0, max(ys) * 1.15), xlim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.5)
        figure.savefig(PICTURES / f"{geometry}-{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
