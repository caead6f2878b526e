"""Make docs/benchmarks.md, its plots and its data from the JSON files of one or more runs.

``python -m benchmarks report FILE [FILE ...]``

Of each workload (and number of threads) the newest results count.  They are kept in
docs/benchmarks/results.json, from which page and plots can be made again:
``python -m benchmarks report docs/benchmarks/results.json``.  Every figure on the page comes from there.
Only the plots need Matplotlib.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, targets
from benchmarks.harness import busy, seconds

DOCS = Path(__file__).parents[1] / "docs"
DATA = "benchmarks/results.json"  # in the folder of the page

Run = dict[str, Any]
Result = dict[str, Any]


# --- runs -----------------------------------------------------------------------------------------


def read(paths: Iterable[str | Path]) -> list[Run]:
    """Read files of single runs and of merged ones."""
    runs: list[Run] = []
    for path in paths:
        found = json.loads(Path(path).read_text())
        runs += found.get("runs", [found])
    return runs


def merge(runs: Sequence[Run]) -> list[Run]:
    """Keep each workload's newest results, by number of threads; runs without any are dropped."""
    ordered = sorted(runs, key=lambda run: run["finished"])
    newest = {key(result): run["finished"] for run in ordered for result in run["results"]}
    kept: dict[str, Run] = {}
    for run in ordered:
        results = [r for r in run["results"] if newest[key(r)] == run["finished"]]
        if results:
            names = {r["workload"] for r in results}
            took = {name: t for name, t in run["took"].items() if name in names or name == "two_threads"}
            failed = [f for f in run["failed"] if f["workload"] in names]
            kept[run["finished"]] = {**run, "results": results, "took": took, "failed": failed}
    return list(kept.values())


def key(result: Result) -> tuple[str, int]:
    return result["workload"], result["threads"]


# --- the page -------------------------------------------------------------------------------------

INTRODUCTION = """\
# Benchmarks

Made by `python -m benchmarks report` from [the figures of the runs](benchmarks/results.json): nothing here is
typed by hand. In a copy of the repository everything is measured anew, and this page written, by

```
pip install -e ".[bench]"
python -m benchmarks --json figures.json
python -m benchmarks report figures.json
```

Contenders run in the same process, and take turns: one sample each, round after round. A figure is the median
of up to 15 samples, each at least 20 ms long where calls are shorter than that; warming up comes first and is
not counted, nor is compiling where that is not what is measured. Before anything is timed, everybody's answer
is compared with a reference written by hand in NumPy; a wrong one fails the run. Peers that are not installed
are left out. The number of threads is set for all libraries alike, to one unless it says otherwise.
"""


def page(runs: Sequence[Run]) -> str:
    """Write the page."""
    results = [r for run in runs for r in run["results"]]
    serious = [r for run in runs if not run["smoke"] for r in run["results"]]
    parts = [INTRODUCTION, machines(runs), held(targets.evaluate(serious)), pictures(results)]
    parts.append("## Workloads\n\nBehind a time, in brackets: how many times tapegrad's it is.\n")
    seen: list[tuple[str, int]] = []
    for result in results:
        if key(result) not in seen:
            seen.append(key(result))
    for name, threads in sorted(seen, key=lambda k: (k[1], order(k[0]))):
        parts.append(workload(name, threads, [r for r in results if key(r) == (name, threads)]))
    return "\n".join(parts)


def order(name: str) -> int:
    from benchmarks.__main__ import WORKLOADS

    return WORKLOADS.index(name) if name in WORKLOADS else len(WORKLOADS)


def machines(runs: Sequence[Run]) -> str:
    """Describe where and when runs were."""
    lines = ["## Machine", ""]
    for run in runs:
        about = run["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        names = sorted({r["workload"] for r in run["results"]}, key=order)
        lines.append(f"- {run['finished'][:10]}: {about['cpu']}, {about['cores']} cores, {about['system']}.")
        lines.append(f"  {versions}.")
        lines.append(f"  Workloads: {', '.join(names)}; {sum(run['took'].values()) / 60:.1f} minutes.")
        if run["smoke"]:
            lines.append("  **A smoke run: its figures mean nothing.**")
        if busy(about):
            lines.append(f"  **Other processes ran (load {about['load'][0]:.1f}): figures are provisional.**")
        lines += [f"  **{f['workload']} failed: {f['message']}**" for f in run["failed"]]
    return "\n".join(lines) + "\n"


def held(outcomes: Sequence[targets.Outcome]) -> str:
    """Targets: how many are met, and each."""
    lines = ["## Targets", ""]
    lines.append(
        "A target is a limit on tapegrad's time as a fraction of a peer's (of the fastest, where several"
    )
    lines.append(
        "are named), or on a figure; `measured` is the geometric mean where there are several cases,"
    )
    lines += ["and a target is met if the worst case is within it.", ""]
    lines += table(["", "", "met", "missed", "not measured"], targets.summary(outcomes), numbers=2)
    lines.append("")
    body = []
    for o in outcomes:
        limit, mean, worst, verdict = targets.shown(o)
        command = run_command(o.target.workload, o.target.threads)
        body.append([o.target.id, targets.describe(o.target), limit, mean, worst, verdict, f"`{command}`"])
    head = ["id", "task / peer", "target", "measured", "worst", "", "command"]
    return "\n".join([*lines, *table(head, body, numbers=2)]) + "\n"


def pictures(results: Sequence[Result]) -> str:
    """Link the plots that there are figures for."""
    lines = ["## Time against size", ""]
    for plot in plots.PLOTS:
        if plots.lines(plot, results):
            command = run_command(plot.workload, 1)
            lines += [f"![{plot.title}](benchmarks/{plot.name}.svg)", "", f"{plot.title}: `{command}`", ""]
    return "\n".join(lines)


def workload(name: str, threads: int, results: Sequence[Result]) -> str:
    """One workload: what it is, its tables, the command."""
    lines = [f"### {name}" + (f", {threads} threads" if threads > 1 else ""), "", *about(name)]
    lines += ["```", run_command(name, threads), "```", ""]
    for unit in dict.fromkeys(r["unit"] for r in results if "unit" in r):
        lines += [*figures([r for r in results if r.get("unit") == unit]), ""]
    lines += [f"{r['case']}: {r['note']}.\n" for r in results if "note" in r]
    return "\n".join(lines)


def about(name: str) -> list[str]:
    """The first paragraph of a workload's description."""
    path = Path(__file__).with_name(f"{name}.py")
    if not path.exists():
        return []
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    return [said.split("\n\n")[0].replace("``", "`"), ""]


def run_command(name: str, threads: int) -> str:
    settings = f"TAPEGRAD_BENCH_THREADS={threads} " if threads > 1 else ""
    return f"{settings}python -m benchmarks {name}"


# --- tables ---------------------------------------------------------------------------------------


def figures(results: Sequence[Result]) -> list[str]:
    """A table of figures in one unit: the longer of cases and contenders from top to bottom."""
    cases = list(dict.fromkeys(r["case"] for r in results))
    contenders = list(dict.fromkeys(r["contender"] for r in results))
    cells = {(r["case"], r["contender"]): cell(r) for r in results}
    if len(cases) >= len(contenders):
        body = [[case, *(cells.get((case, c), "") for c in contenders)] for case in cases]
        return table(["", *contenders], body)
    body = [[c, *(cells.get((case, c), "") for case in cases)] for c in contenders]
    return table(["", *cases], body)


def cell(result: Result) -> str:
    value, ratio = targets.figure(result), result.get("ratio")
    if value is None:
        return f"{ratio:.3g}"
    text = seconds(value) if result["unit"] == "s" else f"{value:.4g} {result['unit']}"
    return text if not ratio or result["contender"] == "tapegrad" else f"{text} ({ratio:.3g})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 1) -> list[str]:
    """A Markdown table; columns from ``numbers`` on are aligned right."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(re.sub(r"([|*])", r"\\\1", c) for c in cells) + " |"

    rules = [":--" if k < numbers else "--:" for k in range(len(head))]
    return [line(head), "|" + "|".join(rules) + "|", *map(line, rows)]


# --- the command line -----------------------------------------------------------------------------


def command(argv: Sequence[str]) -> int:
    """Write data, page and plots; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description="Write the page.")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="what --json wrote, or an earlier page's data"
    )
    parser.add_argument("--out", metavar="FOLDER", default=DOCS, type=Path, help="default: docs")
    parser.add_argument("--no-plots", action="store_true", help="leave the plots as they are")
    options = parser.parse_args(argv)
    runs = merge(read(options.files))
    if not runs:
        parser.error("there are no results in these files")
    folder = options.out / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    (options.out / DATA).write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    (options.out / "benchmarks.md").write_text(page(runs))
    print(f"{options.out / 'benchmarks.md'}: {sum(len(run['results']) for run in runs)} figures")
    if not options.no_plots:
        try:
            written = plots.draw([r for run in runs for r in run["results"]], folder)
        except ImportError as error:
            print(f"no plots: {error}; pip install '.[bench]' brings Matplotlib")
            return 1
        print(f"{len(written)} plots")
    return 0
