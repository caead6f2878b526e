"""The benchmarks run and their answers are right; how fast they are is not a test's business."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs a checkout")


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize(
    "names",
    [
        ("loops", "chain", "mlp_step"),
        ("compiled", "rk4", "arm", "states", "kalman"),
        ("first_gradient", "replay_memory", "functions"),
        ("mlp", "cnn", "gmm", "kalman_vector"),
        ("gp", "lstm", "ratio", "threads"),
        ("scalars", "peak"),
    ],
    ids=", ".join,
)
def test_smoke(tmp_path, names):
    written = tmp_path / "figures.json"
    done = run("--smoke", "--json", str(written), *names)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(written.read_text())
    assert figures["smoke"] and not figures["failed"]
    assert {r["workload"] for r in figures["results"]} == set(names)
    assert all(r["median"] > 0 for r in figures["results"] if "median" in r)
    assert {"cpu", "cores", "versions"} <= set(figures["machine"])


def test_two_threads(tmp_path):
    if len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())) < 2:
        pytest.skip("needs two cores")
    written = tmp_path / "figures.json"
    done = run("--smoke", "--json", str(written), "two_threads")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(written.read_text())["results"]
    assert {(r["workload"], r["threads"]) for r in results} == {
        ("chain", 2),
        ("logistic", 2),
        ("black_scholes", 2),
    }


def test_a_workload_that_fails(benchmarks, tmp_path, capsys):
    """The others run, their figures are written, and the exit status tells."""
    harness = benchmarks("harness")

    def wrong(session):
        raise harness.Mismatch("off by one")

    def broken(session):
        raise ZeroDivisionError("no answer")

    def fine(session):
        session.record("case", {"tapegrad": 1.0}, "s")

    written = tmp_path / "figures.json"
    work = {"wrong": wrong, "broken": broken, "fine": fine}
    assert harness.main(work.__getitem__, list(work), ["--json", str(written)]) == 1
    figures = json.loads(written.read_text())
    assert [f["workload"] for f in figures["failed"]] == ["wrong", "broken"]
    assert [r["workload"] for r in figures["results"]] == ["fine"]
    assert "off by one" in capsys.readouterr().err


def test_unknown_workload():
    done = run("no_such_workload")
    assert done.returncode == 2
    assert "no_such_workload" in done.stderr


def test_a_wrong_answer_fails(benchmarks):
    harness = benchmarks("harness")
    g = np.array([1.0, 2.0])
    harness.compare("right", (3.0, (g,)), (3.0, (g.copy(),)), 1e-9)
    for wrong in ((3.0, (g * 1.001,)), (3.0, (g[:1],)), (3.0,), (3.0, (g * np.nan,))):
        with pytest.raises(harness.Mismatch):
            harness.compare("wrong", wrong, (3.0, (g,)), 1e-9)


def test_targets_are_shown_and_kept(benchmarks, capsys):
    session = benchmarks("harness").Session(smoke=True)
    factories = {
        "tapegrad": lambda: lambda: time.sleep(0.002) or 1.0,
        "slow": lambda: lambda: time.sleep(0.02) or 1.0,
    }
    for allowed, met, said in ((0.5, True, "met"), (0.01, False, "MISSED")):
        session.contest("sleep", factories, 1.0, targets={"slow": allowed})
        shown = capsys.readouterr().out
        assert f"(<= {allowed:g}: {said})" in shown
        ours, slow = session.results[-2:]
        assert "met" not in ours
        assert slow["allowed"] == allowed and slow["met"] is met
        assert slow["share"] == ours["median"] / slow["median"]


def test_complex_steps_differentiate(benchmarks):
    def f(xp, x):
        return xp.exp(x[0]) * xp.sin(x[1]) + x[1] / x[0]

    x = np.array([0.7, 1.9])
    value, g = benchmarks("programs").complex_step(f, x)
    e, s, c = np.exp(x[0]), np.sin(x[1]), np.cos(x[1])
    assert value == e * s + x[1] / x[0]
    np.testing.assert_allclose(g, [e * s - x[1] / x[0] ** 2, e * c + 1 / x[0]], rtol=1e-14)


def test_operations_are_counted(benchmarks):
    count = benchmarks("programs").count
    x = np.ones(3)
    assert count(lambda xp, x: 2.0 * x[0] + xp.sin(x[1]) / x[2], x) == 4
    assert count(lambda xp, x: (np.eye(2) * x[0] @ np.eye(2)).sum() - 1.0, x) == 4
    assert count(lambda xp, x: x[1], x) == 0


@pytest.mark.parametrize("name", ["tapegrad", "tapegrad, compiled", "torch", "jax", "numpy"])
def test_values_and_gradients(benchmarks, name):
    pytest.importorskip(name.split(",")[0])
    chain, peers, harness = benchmarks("chain"), benchmarks("peers"), benchmarks("harness")
    (x,) = chain.inputs(7)
    expected = chain.reference(x)
    harness.compare(name, peers.value(name, chain.chain, [x])(), expected[0], 1e-12)
    if name != "numpy":
        harness.compare(name, peers.value_and_grad(name, chain.chain, [x])(), expected, 1e-12)


@pytest.mark.parametrize("name", ["jax", "jax, NumPy in and out", "casadi", "torch"])
def test_compiled_peers(benchmarks, name):
    pytest.importorskip(name.split(",")[0])
    programs, kalman, peers = benchmarks("programs"), benchmarks("kalman"), benchmarks("peers")
    harness, f = benchmarks("harness"), kalman.program(3)
    evaluate = peers.compiled(name, f, kalman.START)
    for _ in range(2):
        harness.compare(name, evaluate(), programs.complex_step(f, kalman.START), 1e-9)
