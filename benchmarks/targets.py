"""What tapegrad's figures should be, as data, and whether results say so.

A target holds if it holds in each of its cases; the geometric mean is shown beside the worst of them.  A case
that results lack counts as not measured, and then so does the target.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

US, COMPILED, EAGER = "tapegrad", "tapegrad, compiled", "tapegrad, define-by-run"
NATIVE, BOUND, NATIVE_BOUND = "tapegrad, native", "tapegrad, bound", "tapegrad, native, bound"
JAX = ("jax unrolled", "jax scan")  # a scalar program's forms in JAX; the faster one counts


@dataclass(frozen=True)
class Target:
    """One limit on a ratio of times, or on a figure.

    Attributes
    ----------
    id : str
        Of the group that it belongs to.
    what : str
        What is computed.
    workload : str
    cases : tuple of str
        Regular expressions; each has to match the whole name of at least one case.
    ours : str
        The contender whose figure is held against the others'.
    peers : tuple of str
        Contenders; the fastest of them counts.  None: the limit is on the figure itself.
    limit : float
    threads : int
    """

    id: str
    what: str
    workload: str
    cases: tuple[str, ...]
    ours: str
    peers: tuple[str, ...]
    limit: float
    threads: int = 1


GROUPS = {
    "P1": "define-by-run, small operations",
    "P2": "compiled, cost of a call",
    "P3": "large elementwise functions",
    "P4": "scalar programs, compiled",
    "P5": "a new function's first gradient",
    "P6": "dense network",
    "P7": "array programs",
    "P8": "start of a process",
    "P9": "gradient / function",
}


def _targets() -> Iterable[Target]:
    torch, jax = ("torch",), ("jax",)
    for label in ("sin, tanh, *, +", "+, -, *, /"):
        sizes = tuple(re.escape(f"{label}, size {size}") for size in (1, 10, 100))
        yield Target("P1", f"loops of {label}; sizes 1, 10, 100", "loops", sizes, US, torch, 0.1)
    yield Target("P1", "scalar code", "scalars", ("Kalman filter", "RK4"), US, torch, 0.1)
    yield Target("P1", "4x8 network, training step", "mlp_step", ("4x8, batch 16",), US, torch, 0.1)

    for size in (1, 100):
        yield Target("P2", f"chain, size {size}", "compiled", (f"size {size}",), US, jax, 1 / 3)

    for what, workload, case, limits in (
        ("chain, size 1e6", "chain", "size 1000000", {"jax": 0.5, "torch": 0.35}),
        ("Black-Scholes, size 1e6", "black_scholes", "size 1000000", {"jax": 0.35, "torch": 0.35}),
        ("logistic loss, 1e6 x 10", "logistic", "1000000 x 10", {"jax": 0.7, "torch": 0.6}),
    ):
        for threads in (1, 2):
            for ours, way in ((US, "define-by-run"), (COMPILED, "compiled")):
                for peer, limit in limits.items():
                    yield Target("P3", f"{what}, {way}", workload, (case,), ours, (peer,), limit, threads)
    for ours, way in ((US, "define-by-run"), (COMPILED, "compiled")):
        # outputs, and half an array more for whatever does not grow with the number of operations
        for what, case, limit in (
            ("chain, size 1e6", "chain, size 1000000", 1.5),
            ("chain, size 1e7", "chain, size 10000000", 1.5),
            ("Black-Scholes, size 1e6", "Black-Scholes, size 1000000", 4.5),
        ):
            yield Target("P3", f"peak memory, {what}, {way}", "peak", (case,), ours, (), limit)

    for what, workload, case, kalman in (
        ("RK4, 200 steps", "rk4", "200 steps", False),
        ("7-joint arm, scalars", "arm", "scalars", False),
        ("7-joint arm, 4x4 products", "arm", "4x4 products", False),
        ("60 states, 100 steps", "states", "60 states, 100 steps", False),
        ("scalar Kalman filter, 300 observations", "kalman", "300 observations", True),
    ):
        cases = (re.escape(case) + r", \d+ operations",)
        for ours, peers, limit, way in (
            (US, ("casadi",), 0.8, "interpreted"),
            (BOUND, ("casadi, buffer",), 0.8, "interpreted, bound"),
            (NATIVE, ("casadi",), 0.2, "native"),
            (NATIVE_BOUND, ("casadi, buffer",), 0.2, "native, bound"),
            (NATIVE, JAX, 0.3 if kalman else 0.1, "native"),
            (NATIVE, torch, 0.01, "native"),
        ):
            yield Target("P4", f"{what}, {way}", workload, cases, ours, peers, limit)

    for what, case, peers, limit in (
        ("chain, size 100", "chain, size 100", jax, 0.02),
        ("Kalman filter, 20 observations", "Kalman filter, 20 observations", jax, 0.02),
        ("Kalman filter, 300 observations", "Kalman filter, 300 observations", ("jax scan",), 0.1),
        ("RK4, 200 steps", "RK4, 200 steps", ("jax scan",), 0.1),
    ):
        yield Target("P5", what, "first_gradient", (case,), US, peers, limit)

    for dtype in ("float64", "float32"):
        case = re.escape(f"784-256-128-10, batch 256, {dtype}")
        yield Target("P6", f"784-256-128-10, batch 256, {dtype}", "mlp", (case,), US, torch, 1.05)

    for what, workload, cases, peers in (
        ("Gaussian mixture, d = 10 and 32", "gmm", ("10 dimensions, .*", "32 dimensions, .*"), "torch jax"),
        ("Kalman filter, 4 states", "kalman_vector", ("4 states, 200 steps",), "torch"),
        ("Gaussian process, 200 and 500 points", "gp", ("200 points", "500 points"), "torch jax"),
        ("LSTM, 64 steps", "lstm", ("64 steps, .*",), "torch"),
    ):
        for peer in peers.split():
            yield Target("P7", what, workload, cases, US, (peer,), 1.0)

    for peer, limit in (("jax", 0.5), ("torch", 0.3)):
        case = "process to first gradient, warm cache"
        yield Target("P8", case, "startup", (case,), US, (peer,), limit)
    case = "process to first model's gradient, cold cache"
    yield Target("P8", f"{case} (seconds)", "startup", (case,), US, (), 5.0)

    for what, case, limit in (
        ("chain", r"chain, \d+ elements", 3.0),
        ("logistic loss", r"logistic, \d+ x 10", 3.0),
        ("784-256-128-10", "mlp", 3.0),
        ("Gaussian mixture", "gmm", 3.0),
        ("Gaussian process, 500 points", "gp, 500 points", 5.0),
    ):
        yield Target("P9", what, "ratio", (case,), "value and gradient", ("value",), limit)


TARGETS = tuple(_targets())


@dataclass
class Outcome:
    """What was measured of a target.

    Attributes
    ----------
    target : Target
    measured : dict of str to float
        By case the ratio of our figure to the fastest peer's, or the figure.
    missing : list of str
        What there is no figure of.
    """

    target: Target
    measured: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def worst(self) -> float:
        return max(self.measured.values())

    @property
    def mean(self) -> float:
        """Geometric."""
        return math.exp(statistics.fmean(math.log(value) for value in self.measured.values()))

    @property
    def verdict(self) -> str:
        if self.measured and self.worst > self.target.limit:
            return "missed"
        return "not measured" if self.missing else "met"


def figure(result: dict[str, Any]) -> float | None:
    """The number that a result is about."""
    return result.get("median", result.get("value"))


def evaluate(results: Sequence[dict[str, Any]], targets: Sequence[Target] = TARGETS) -> list[Outcome]:
    """Hold results against targets, all of them, in their order."""
    figures: dict[tuple[str, int], dict[str, dict[str, float]]] = {}
    for result in results:
        value = figure(result)
        if value is not None and result["unit"] != "MB":  # the same as arrays, for readers
            cases = figures.setdefault((result["workload"], result.get("threads", 1)), {})
            cases.setdefault(result["case"], {})[result["contender"]] = value
    outcomes = []
    for target in targets:
        outcome = Outcome(target)
        cases = figures.get((target.workload, target.threads), {})
        for pattern in target.cases:
            matching = [case for case in cases if re.fullmatch(pattern, case)]
            if not matching:
                outcome.missing.append(f"case {pattern.replace(chr(92), '')}")
            for case in matching:
                _hold(outcome, case, cases[case])
        outcomes.append(outcome)
    return outcomes


def _hold(outcome: Outcome, case: str, figures: dict[str, float]) -> None:
    target = outcome.target
    peers = [figures[name] for name in target.peers if name in figures]
    if target.ours not in figures:
        outcome.missing.append(target.ours)
    elif target.peers and not peers:
        outcome.missing.append(" or ".join(target.peers))
    else:
        outcome.measured[case] = figures[target.ours] / (min(peers) if target.peers else 1.0)


HEAD = ("", "target", "measured", "worst", "")


def rows(outcomes: Iterable[Outcome]) -> list[list[str]]:
    """Lines of a table, under `HEAD`."""
    return [[f"{o.target.id}  {describe(o.target)}", *shown(o)] for o in outcomes]


def describe(target: Target) -> str:
    """What is computed, and what its time is compared with."""
    against = f" / {' or '.join(target.peers)}" if target.peers else ""
    return target.what + (f", {target.threads} threads" if target.threads > 1 else "") + against


def shown(outcome: Outcome) -> list[str]:
    """Limit, geometric mean, worst case and verdict, as text."""
    limit = f"<= {outcome.target.limit:.3g}"
    if not outcome.measured:
        return [limit, "", "", "not measured"]
    return [limit, f"{outcome.mean:.3g}", f"{outcome.worst:.3g}", outcome.verdict]


def summary(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Per group: id, title, how many targets are met, missed and not measured."""
    lines = []
    for id, title in GROUPS.items():
        verdicts = [o.verdict for o in outcomes if o.target.id == id]
        if verdicts:
            counts = [verdicts.count(v) for v in ("met", "missed", "not measured")]
            lines.append([id, title, *map(str, counts)])
    return lines
