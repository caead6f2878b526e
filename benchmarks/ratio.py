"""How much longer a gradient takes than its function: value and gradient against the value, both compiled."""

import statistics
import sys

from benchmarks import arrays, chain, gmm, gp, logistic, mlp, peers
from benchmarks.harness import US, compare, interleave, main

ALLOWED = 3.0
ALLOWED_FACTORED = 5.0  # where a Cholesky factorisation takes most of the time


def cases(session):
    """Title, function, parameters, fixed arrays, reference, largest error, allowed ratio."""
    size = session.pick(100_000, 1000)
    yield f"chain, {size} elements", chain.chain, chain.inputs(size), [], chain.reference, 1e-9, ALLOWED
    w, x, y = logistic.inputs(session.pick(100_000, 500))
    yield f"logistic, {len(x)} x 10", logistic.loss, [w], [x, y], logistic.reference, 1e-9, ALLOWED
    layers, batch = session.pick((mlp.LAYERS, mlp.BATCH), ((20, 12, 8, 5), 16))
    parameters, fixed = mlp.inputs(layers, batch, "float64")
    yield "mlp", mlp.loss, parameters, fixed, lambda *a: mlp.reference(a[:6], a[6:]), 1e-9, ALLOWED
    n, k, d = session.pick((gmm.POINTS, gmm.COMPONENTS, 10), (40, 3, 3))
    parameters, fixed = gmm.inputs(n, d, k)
    yield "gmm", gmm.program(n, d, k), parameters, fixed, lambda *a: gmm.reference(a[:3], a[3]), 1e-9, ALLOWED
    n = session.pick(500, 20)
    parameters, fixed = gp.inputs(n)
    yield (
        f"gp, {n} points",
        gp.loss,
        parameters,
        fixed,
        lambda *a: gp.reference(a[:3], a[3:]),
        1e-7,
        ALLOWED_FACTORED,
    )


def run(session):
    tg = peers.module(US)
    for title, f, parameters, fixed, reference, rtol, allowed in cases(session):
        xp = arrays.FUNCTIONS[US]

        def value(*xs, f=f, xp=xp, fixed=fixed):
            return f(xp, *xs, *fixed)

        places = tuple(range(len(parameters)))
        alone, both = tg.compile(value), tg.compile(tg.value_and_grad(value, argnums=places))
        expected = reference(*parameters, *fixed)
        compare(f"{session.workload}, {title}", both(*parameters), expected, rtol)
        compare(f"{session.workload}, {title}", alone(*parameters), expected[0], rtol)
        runners = {
            "value": lambda alone=alone, xs=parameters: alone(*xs),
            "value and gradient": lambda both=both, xs=parameters: both(*xs),
        }
        times = {
            name: statistics.median(samples) for name, samples in interleave(runners, session.smoke).items()
        }
        ratio = times["value and gradient"] / times["value"]
        session.record(title, times, "s")
        verdict = "met" if ratio <= allowed else "MISSED"
        session.record(f"{title}: ratio, at most {allowed:g} ({verdict})", {US: ratio}, "times")


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["ratio"]))
