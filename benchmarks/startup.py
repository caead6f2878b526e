"""A fresh process: time to import, and time until the first gradient is there.

The kernel cache is warm (filled by a run before) or cold (an empty folder, removed afterwards).  Everybody
computes the same gradient of the elementwise chain at size 100; the time is that of the whole process.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.harness import Mismatch, main

SIZE = 100


def child(library):
    """Run in the fresh process: print what importing and the first gradient took, and a checksum."""
    start = time.perf_counter()
    from benchmarks import peers

    peers.module(library)
    imported = time.perf_counter()
    from benchmarks.chain import chain, inputs  # its imports are nobody's cost

    ready = time.perf_counter()
    value, (g,) = peers.value_and_grad(library, chain, inputs(SIZE))()
    done = time.perf_counter()
    print(
        json.dumps({"import": imported - start, "gradient": done - ready, "check": [value, float(g.sum())]})
    )


def fresh(library, cache=None):
    """Time a fresh process; return seconds: all of it, importing, from then to the gradient."""
    environment = dict(os.environ)
    if cache is not None:
        environment["TAPEGRAD_CACHE_DIR"] = cache
    command = [sys.executable, "-m", "benchmarks.startup", "--child", library]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    total = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stderr}")
    said = json.loads(done.stdout.splitlines()[-1])
    from benchmarks.chain import inputs, reference

    value, (g,) = reference(*inputs(SIZE))
    for got, expected in zip(said["check"], (value, g.sum())):
        if not abs(got - expected) <= 1e-9 * abs(expected):
            raise Mismatch(f"startup, {library}: {got!r}, expected {expected!r}")
    return total, said["import"], said["gradient"]


def run(session):
    libraries = session.libraries("tapegrad", "torch", "jax", "autograd", "mygrad")
    times = {name: [] for name in libraries}
    for name in libraries:
        fresh(name)  # fills the caches: byte code, kernels, the disk's
    for _ in range(session.pick(7, 1)):
        for name in libraries:
            times[name].append(fresh(name))
    for k, case in enumerate(("process to first gradient", "of this, import", "of this, first gradient")):
        session.record(
            f"{case}, warm cache", {n: statistics.median(t[k] for t in times[n]) for n in libraries}, "s"
        )
    if session.smoke:  # compiling takes longer than everything else together
        return
    cold = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(fresh("tapegrad", folder)[0])
    session.record("process to first gradient, cold cache", {"tapegrad": statistics.median(cold)}, "s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
    else:
        sys.exit(main(lambda name: run, ["startup"]))
