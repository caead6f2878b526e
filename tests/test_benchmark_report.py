"""Targets are held against results, and the page says what its data say."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs a checkout")


def result(contender, seconds, case="size 100", workload="chain", threads=1):
    return {
        "workload": workload,
        "case": case,
        "contender": contender,
        "unit": "s",
        "median": seconds,
        "ratio": None,
        "threads": threads,
    }


def make_run(results, finished="2026-01-01T00:00:00+00:00", smoke=False):
    about = {
        "cpu": "a processor",
        "cores": 2,
        "system": "Linux x86_64",
        "threads": 1,
        "load": [0.1, 0.1, 0.1],
        "versions": {"python": "3.11"},
    }
    took = {r["workload"]: 1.0 for r in results}
    return {
        "finished": finished,
        "machine": about,
        "smoke": smoke,
        "took": took,
        "results": results,
        "failed": [],
    }


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "peers", "verdict"),
    [
        ({"a1": 1.0, "a2": 1.0}, {"a1": 4.0, "a2": 4.0}, "met"),
        (
            {"a1": 1.0, "a2": 1.0},
            {"a1": 40.0, "a2": 1.5},
            "missed",
        ),  # the mean is within it, the worst is not
        ({"a1": 1.0}, {"a1": 4.0}, "not measured"),
        ({"a1": 3.0}, {"a1": 4.0}, "missed"),  # whatever the other one is
        ({"a1": 1.0, "a2": 1.0}, {"a1": 4.0}, "not measured"),
        ({}, {"a1": 4.0, "a2": 4.0}, "not measured"),
        ({}, {}, "not measured"),
    ],
)
def test_verdicts(benchmarks, ours, peers, verdict):
    targets = benchmarks("targets")
    target = targets.Target("P1", "it", "chain", ("a1", "a2"), "tapegrad", ("torch",), 0.5)
    results = [result("tapegrad", t, case) for case, t in ours.items()]
    results += [result("torch", t, case) for case, t in peers.items()]
    (outcome,) = targets.evaluate(results, [target])
    assert outcome.verdict == verdict
    assert bool(outcome.missing) == (len(outcome.measured) < 2)


def test_the_fastest_peer_counts(benchmarks):
    targets = benchmarks("targets")
    target = targets.Target("P4", "it", "chain", ("size 100",), "tapegrad", ("a", "b", "c"), 0.5)
    (outcome,) = targets.evaluate([result("tapegrad", 1.0), result("a", 8.0), result("b", 4.0)], [target])
    assert outcome.mean == outcome.worst == 0.25


def test_threads_are_kept_apart(benchmarks):
    targets = benchmarks("targets")
    target = targets.Target("P3", "it", "chain", ("size 100",), "tapegrad", ("torch",), 0.5, threads=2)
    results = [result("tapegrad", 1.0), result("torch", 9.0)]
    assert targets.evaluate(results, [target])[0].verdict == "not measured"
    results += [result("tapegrad", 1.0, threads=2), result("torch", 4.0, threads=2)]
    assert targets.evaluate(results, [target])[0].worst == 0.25


def test_limits_on_figures(benchmarks):
    targets = benchmarks("targets")
    target = targets.Target("P8", "it", "chain", ("size 100",), "tapegrad", (), 5.0)
    assert targets.evaluate([result("tapegrad", 4.0)], [target])[0].verdict == "met"
    assert targets.evaluate([result("tapegrad", 6.0)], [target])[0].verdict == "missed"


def test_all_targets(benchmarks):
    targets, names = benchmarks("targets"), benchmarks("__main__").WORKLOADS
    assert {t.id for t in targets.TARGETS} == set(targets.GROUPS)
    for target in targets.TARGETS:
        assert target.workload in names and target.cases and target.limit > 0
        for pattern in target.cases:
            re.compile(pattern)
    assert len(set(targets.TARGETS)) == len(targets.TARGETS)
    nothing = targets.evaluate([])
    assert [o.target for o in nothing] == list(targets.TARGETS)
    assert all(o.verdict == "not measured" for o in nothing)
    assert len(targets.rows(nothing)) == len(targets.TARGETS)


# --- merging and the page -------------------------------------------------------------------------


def test_the_newest_results_count(benchmarks):
    report = benchmarks("report")
    old = make_run([result("tapegrad", 1.0), result("tapegrad", 1.0, workload="loops")], "2026-01-01")
    two = make_run([result("tapegrad", 2.0, threads=2)], "2026-01-02")
    new = make_run([result("tapegrad", 3.0)], "2026-01-03")
    merged = report.merge([new, old, two])
    assert report.merge(merged) == merged == report.merge([*merged, old])
    kept = {report.key(r): r["median"] for run in merged for r in run["results"]}
    assert kept == {("loops", 1): 1.0, ("chain", 2): 2.0, ("chain", 1): 3.0}
    assert report.merge([make_run([result("tapegrad", 1.0)], "2025"), new]) == [new]


def test_report(benchmarks, tmp_path):
    report = benchmarks("report")
    given = tmp_path / "figures.json"
    results = [
        result("tapegrad", 1e-3, "size 1000000"),
        result("torch", 4e-3, "size 1000000"),
        {"workload": "chain", "case": "size 7", "note": "nobody came", "threads": 1},
    ]
    given.write_text(json.dumps(make_run(results)))
    assert report.command([str(given), "--out", str(tmp_path), "--no-plots"]) == 0
    page = (tmp_path / "benchmarks.md").read_text()
    line = "| P3 | chain, size 1e6, define-by-run / torch | <= 0.35 | 0.25 | 0.25 | met |"
    assert line in page and "size 7: nobody came." in page and "4.00 ms" in page
    targets = benchmarks("targets")
    assert page.count("\n| P") == len(targets.TARGETS) + len(targets.GROUPS)
    again = tmp_path / "again"
    data = tmp_path / "benchmarks" / "results.json"
    assert report.command([str(data), "--out", str(again), "--no-plots"]) == 0
    assert (again / "benchmarks.md").read_text() == page


def test_smoke_runs_mean_nothing(benchmarks):
    report = benchmarks("report")
    results = [result("tapegrad", 1e-3, "size 1000000"), result("torch", 4e-3, "size 1000000")]
    page = report.page([make_run(results, smoke=True)])
    assert "smoke run" in page and "| met | `" not in page


def test_tables(benchmarks):
    table = benchmarks("report").table(["", "a|b"], [["*", "1"]])
    assert table == ["|  | a\\|b |", "|:--|--:|", "| \\* | 1 |"]


def test_the_page_agrees_with_its_data(benchmarks):
    """Whoever changes one of them has to make the page again: ``python -m benchmarks report``."""
    report, plots = benchmarks("report"), benchmarks("plots")
    runs = report.merge(report.read([report.DOCS / report.DATA]))
    assert (report.DOCS / "benchmarks.md").read_text() == report.page(runs)
    results = [r for run in runs for r in run["results"]]
    for plot in plots.PLOTS:
        path = report.DOCS / "benchmarks" / f"{plot.name}.svg"
        assert path.exists() == bool(plots.lines(plot, results))
        if path.exists():
            assert plots.digest(plot, results) in path.read_text()


def test_plots_depend_on_figures_alone(benchmarks, tmp_path):
    pytest.importorskip("matplotlib")
    plots = benchmarks("plots")
    results = [
        result(contender, seconds * size, f"size {size}")
        for contender, seconds in (("tapegrad", 1e-9), ("tapegrad, compiled", 5e-10), ("torch", 4e-9))
        for size in (100, 1000, 10_000)
    ]
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
        assert [path.name for path in plots.draw(results, folder)] == ["p3-chain.svg"]
    drawn = (once / "p3-chain.svg").read_text()
    assert drawn == (twice / "p3-chain.svg").read_text()
    assert "tapegrad, compiled" in drawn and len(drawn) < 40_000
    assert plots.draw([], once) == [] and not list(once.iterdir())
