"""A function nobody has seen before: time until its first gradient is there.

Every evaluation makes a new function, so that nothing is kept from the one before; kernels, imports and the
libraries' own pieces are warm.  What is timed is all of it: recording or tracing, building or compiling, one
evaluation.
"""

import sys

from benchmarks import kalman, peers, rk4
from benchmarks.chain import chain, inputs, reference
from benchmarks.harness import US, main
from benchmarks.programs import complex_step

JAX_TARGET = 0.02  # of its compile and run
SCAN_TARGET = 0.1  # the same where the JAX user has rewritten the function with lax.scan


def new(name, f, x):
    """Evaluations that each start from a new function."""
    return lambda: lambda: peers.compiled(name, f, x)()


def contest(session, case, f, x, reference, libraries, scan=None):
    factories = {name: new(name, f, x) for name in libraries if name != "jax" or scan is None}
    targets = {"jax": JAX_TARGET}
    if scan is not None and "jax" in libraries:
        factories["jax scan"] = new("jax", scan, x)
        targets = {"jax scan": SCAN_TARGET}
    session.contest(case, factories, reference, targets=targets)


def run(session):
    (x,) = inputs(100)
    value, (g,) = reference(x)
    contest(session, "chain, size 100", chain, x, (value, g), session.libraries(US, "jax", "torch"))
    libraries = session.libraries(US, "jax", "casadi", "torch")
    short, long = session.pick((20, 300), (5, 20))
    for title, workload, length, scanned in (
        (f"Kalman filter, {short} observations", kalman, short, False),
        (f"Kalman filter, {long} observations", kalman, long, True),
        (f"RK4, {session.pick(200, 10)} steps", rk4, session.pick(200, 10), True),
    ):
        f, x = workload.program(length), workload.START
        scan = workload.with_scan(length) if scanned else None
        contest(session, title, f, x, complex_step(f, x), libraries, scan)


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["first_gradient"]))
