"""Plots of time against size, as SVG files that depend on nothing but the figures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Plot:
    """One plot.

    Attributes
    ----------
    name : str
        Of the file.
    title : str
    workload : str
    case : str
        Regular expression that a case's name has to match; its group is the size.
    size : str
        What the size counts.
    """

    name: str
    title: str
    workload: str
    case: str
    size: str


PLOTS = (
    Plot(
        "p1-loops",
        "P1: define-by-run, 200 operations",
        "loops",
        r"sin, tanh, \*, \+, size (\d+)",
        "elements",
    ),
    Plot(
        "p1-arithmetic",
        "P1: define-by-run, 200 arithmetic operations",
        "loops",
        r"\+, -, \*, /, size (\d+)",
        "elements",
    ),
    Plot("p2-compiled", "P2: compiled chain", "compiled", r"size (\d+)", "elements"),
    Plot("p3-chain", "P3: chain, value and gradient", "chain", r"size (\d+)", "elements"),
    Plot("p3-value", "P3: chain, value alone", "chain", r"value alone, size (\d+)", "elements"),
    Plot(
        "p4-kalman",
        "P4: scalar Kalman filter",
        "kalman",
        r"(\d+) observations, \d+ operations",
        "observations",
    ),
)

COLOURS = {
    "tapegrad": "#c2255c",
    "torch": "#e8590c",
    "jax": "#1971c2",
    "casadi": "#2f9e44",
    "autograd": "#7048e8",
    "mygrad": "#868e96",
    "numpy": "#343a40",
}
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))


def lines(plot: Plot, results: Sequence[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """By contender sizes and seconds, in order; those with a single size have no line."""
    found: dict[str, dict[int, float]] = {}
    for result in results:
        if result["workload"] != plot.workload or result["threads"] != 1 or "median" not in result:
            continue
        match = re.fullmatch(plot.case, result["case"])
        if match:
            found.setdefault(result["contender"], {})[int(match[1])] = result["median"]
    return {name: sorted(points.items()) for name, points in found.items() if len(points) > 1}


def digest(plot: Plot, results: Sequence[dict[str, Any]]) -> str:
    """Identify what a plot shows; written into its file."""
    shown = json.dumps([plot.title, plot.size, lines(plot, results)])
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def draw(results: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write the plots that there are figures for, and remove those that there are none for."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    settings = {"svg.hashsalt": "tapegrad", "svg.fonttype": "none", "font.size": 9, "path.snap": False}
    written = []
    for plot in PLOTS:
        path, found = folder / f"{plot.name}.svg", lines(plot, results)
        if not found:
            path.unlink(missing_ok=True)
            continue
        with matplotlib.rc_context(settings):
            figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
            used: dict[str, int] = {}
            for name, points in found.items():
                library = re.split(r"[ ,]", name)[0]
                style = STYLES[used.get(library, 0) % len(STYLES)]
                used[library] = used.get(library, 0) + 1
                axes.loglog(
                    *zip(*points),
                    label=name,
                    color=COLOURS.get(library, "black"),
                    linestyle=style,
                    linewidth=2.0 if library == "tapegrad" else 1.2,
                    marker="o",
                    markersize=3,
                )
            axes.set(title=plot.title, xlabel=plot.size, ylabel="seconds")
            axes.grid(alpha=0.3)
            axes.minorticks_off()
            figure.legend(loc="outside right upper", frameon=False)
            about = {"Date": None, "Creator": None, "Description": digest(plot, results)}
            figure.savefig(path, format="svg", metadata=about)
            pyplot.close(figure)
        path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
        written.append(path)
    return written
