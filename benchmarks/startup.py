"""A fresh process: time to import, and time until the first gradient is there.

The kernel cache is warm (filled by a run before) or cold (an empty folder, removed afterwards).  Everybody
computes the same gradient of the elementwise chain at size 100; the time is that of the whole process.
tapegrad also trains its first model, a logistic regression, by one step, and compiles its first gradient.
Byte code is cached for everybody, in a folder of its own.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.harness import Mismatch, main

SIZE = 100
TASKS = {
    "chain": "process to first gradient",
    "model": "process to first model's gradient",
    "compiled": "process to first compiled gradient",
}


def table():
    """The data of the first model: 200 cases of 5 numbers, and the class of each."""
    cases = np.sin(np.arange(1000.0)).reshape(200, 5)
    return cases, (cases[:, 0] + 0.5 * cases[:, 1] > 0.1).astype(float)


def first_model(compiled):
    """The loss of a logistic regression and its gradient, by run or compiled."""
    import tapegrad as tg

    cases, labels = table()

    def loss(w, b):
        z = cases @ w + b
        return tg.mean(tg.logaddexp(0.0, z) - labels * z)

    if compiled:
        value, (gw, _) = tg.compile(tg.value_and_grad(loss, argnums=(0, 1)))(np.zeros(5), 0.0)
        return float(value), gw
    w, b = tg.tensor(np.zeros(5), requires_grad=True), tg.tensor(0.0, requires_grad=True)
    value = loss(w, b)
    value.backward()
    return value.item(), w.grad.numpy()


def child(library, task):
    """Run in the fresh process: print what importing and the first gradient took, and a checksum."""
    start = time.perf_counter()
    from benchmarks import peers

    peers.module(library)
    imported = time.perf_counter()
    from benchmarks.chain import chain, inputs  # its imports are nobody's cost

    ready = time.perf_counter()
    if task == "chain":
        value, (g,) = peers.value_and_grad(library, chain, inputs(SIZE))()
    else:
        value, g = first_model(task == "compiled")
    done = time.perf_counter()
    print(
        json.dumps({"import": imported - start, "gradient": done - ready, "check": [value, float(g.sum())]})
    )


def expected(task):
    """What the process should print as its checksum."""
    if task == "chain":
        from benchmarks.chain import inputs, reference

        value, (g,) = reference(*inputs(SIZE))
        return value, g.sum()
    cases, labels = table()
    return np.log(2), (cases * (0.5 - labels)[:, None]).mean(0).sum()


def fresh(library, byte_code, cache=None, task="chain"):
    """Time a fresh process; return seconds: all of it, importing, from then to the gradient."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": byte_code}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if cache is not None:
        environment["TAPEGRAD_CACHE_DIR"] = cache
    command = [sys.executable, "-m", "benchmarks.startup", "--child", library, task]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    total = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stderr}")
    said = json.loads(done.stdout.splitlines()[-1])
    for got, right in zip(said["check"], expected(task)):
        if not abs(got - right) <= 1e-9 * abs(right):
            raise Mismatch(f"startup, {library}, {task}: {got!r}, expected {right!r}")
    return total, said["import"], said["gradient"]


def run(session):
    with tempfile.TemporaryDirectory() as byte_code:
        measure(session, byte_code)


def measure(session, byte_code):
    """Record all cases, with byte code kept in the folder of that name."""
    libraries = session.libraries("tapegrad", "torch", "jax", "autograd", "mygrad")
    times = {name: [] for name in libraries}
    for name in libraries:
        fresh(name, byte_code)  # fills the caches: byte code, kernels, the disk's
    for _ in range(session.pick(7, 1)):
        for name in libraries:
            times[name].append(fresh(name, byte_code))
    for k, case in enumerate((TASKS["chain"], "of this, import", "of this, first gradient")):
        session.record(
            f"{case}, warm cache", {n: statistics.median(t[k] for t in times[n]) for n in libraries}, "s"
        )
    if session.smoke:  # compiling takes longer than everything else together
        return
    for task, case in TASKS.items():
        cold, warm = [], []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                cold.append(fresh("tapegrad", byte_code, folder, task)[0])
                warm.append(fresh("tapegrad", byte_code, folder, task)[0])
        if task != "chain":
            session.record(f"{case}, warm cache", {"tapegrad": statistics.median(warm)}, "s")
        session.record(f"{case}, cold cache", {"tapegrad": statistics.median(cold)}, "s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        sys.exit(main(lambda name: run, ["startup"]))
