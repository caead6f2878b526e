"""The large elementwise workloads with two threads for everybody, in a process of their own.

Numeric libraries read the number of threads when they are imported, so it cannot change in this one.  The
figures are kept under the names of the workloads that run there.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import US, main

NAMES = ("chain", "logistic", "black_scholes")
THREADS = 2


def environment():
    """This process's, less the settings for one thread."""
    kept = {**os.environ, "TAPEGRAD_BENCH_THREADS": str(THREADS)}
    flags = kept.get("XLA_FLAGS", "").split()
    kept["XLA_FLAGS"] = " ".join(flag for flag in flags if "multi_thread_eigen" not in flag)
    return kept


def run(session):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < THREADS:
        session.note(US, f"this machine lets a process use {cores} core")
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks", *NAMES, "--no-targets", "--json", str(file)]
        command += ["--smoke"] if session.smoke else []
        command += ["--peers", ",".join(session.wanted)]
        done = subprocess.run(command, env=environment())  # shows its tables itself
        if not file.exists():
            raise RuntimeError(f"benchmarks with {THREADS} threads ended with status {done.returncode}")
        found = json.loads(file.read_text())
    session.results += found["results"]
    session.failed += found["failed"]


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["two_threads"]))
