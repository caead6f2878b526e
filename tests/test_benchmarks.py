"""The benchmarks run and their answers are right; how fast they are is not a test's business."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs a checkout")


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_smoke(tmp_path):
    written = tmp_path / "figures.json"
    done = run("--smoke", "--json", str(written), "loops", "chain", "mlp_step")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(written.read_text())
    assert figures["smoke"] and not figures["failed"]
    assert {r["workload"] for r in figures["results"]} == {"loops", "chain", "mlp_step"}
    assert all(r["median"] > 0 for r in figures["results"] if "median" in r)
    assert {"cpu", "cores", "versions"} <= set(figures["machine"])


def test_unknown_workload():
    done = run("no_such_workload")
    assert done.returncode == 2
    assert "no_such_workload" in done.stderr


def test_a_wrong_answer_fails():
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.harness import Mismatch, compare
    finally:
        sys.path.remove(str(ROOT))
    g = np.array([1.0, 2.0])
    compare("right", (3.0, (g,)), (3.0, (g.copy(),)), 1e-9)
    for wrong in ((3.0, (g * 1.001,)), (3.0, (g[:1],)), (3.0,), (3.0, (g * np.nan,))):
        with pytest.raises(Mismatch):
            compare("wrong", wrong, (3.0, (g,)), 1e-9)
