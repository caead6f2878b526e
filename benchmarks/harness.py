"""What all workloads share: options, checking, interleaved timing, the table, the JSON file.

Contenders take turns (one sample each, round after round), so that a slow moment of the machine falls on all
of them; a figure is the median of its samples.  Warm-up and the choice of the number of calls per sample come
first and are not counted.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks import THREADS, peers

US = "tapegrad"
SLOW = 0.2  # seconds: a contender that takes longer gets fewer turns

Runner = Callable[[], Any]  # one evaluation; returns its answer: numbers and arrays, nested in tuples


class Mismatch(Exception):
    """A contender's answer is wrong, or a limit was passed."""


class Session:
    """One run of one or more workloads: its settings and its results.

    Parameters
    ----------
    smoke : bool
        Smallest sizes and fewest repeats: shows that everything runs and that answers are right.
    wanted : sequence of str
        Libraries to compare with; those that cannot be imported are left out.
    """

    def __init__(self, smoke: bool = False, wanted: Sequence[str] = peers.PEERS) -> None:
        self.smoke = smoke
        self.wanted = tuple(wanted)
        self.workload = ""
        self.results: list[dict[str, Any]] = []
        self.failed: list[dict[str, str]] = []

    def libraries(self, *names: str) -> list[str]:
        """Keep ``tapegrad`` and those of ``names`` that are wanted and installed."""
        return [n for n in names if n == US or (n in self.wanted and peers.available(n))]

    def pick(self, full: Any, smoke: Any) -> Any:
        """Choose a size or a count."""
        return smoke if self.smoke else full

    # --- timing -----------------------------------------------------------------------------------

    def contest(
        self,
        case: str,
        factories: Mapping[str, Callable[[], Runner]],
        reference: Any,
        operations: int | None = None,
        rtol: float = 1e-9,
        steps: int = 1,
        targets: Mapping[str, float | Mapping[str, float]] | None = None,
    ) -> dict[str, float]:
        """Check, then time, contenders at one task; print a table; return seconds per call.

        Parameters
        ----------
        case : str
            What is timed, e.g. ``"size 100"``.
        factories : mapping of str to callable
            Per contender a function that prepares (copies inputs, compiles) and returns the evaluation.
        reference : nested tuples of array_like
            The answer, computed independently.
        operations : int, optional
            Print the time per operation too.
        rtol : float
            Largest error accepted, relative to the largest element of each array.
        steps : int
            Evaluations until ``reference`` is due, for evaluations that change state.
        targets : mapping of str to float or mapping, optional
            Per contender how much of its time tapegrad may take, or how much each of tapegrad's forms may;
            shown, and never a reason to fail: that depends on the machine and on what else it does.

        Raises
        ------
        Mismatch
            If an answer differs.
        """
        runners: dict[str, Runner] = {}
        for name, factory in factories.items():
            run = factory()
            for _ in range(steps):
                answer = run()
            compare(f"{self.workload}, {case}, {name}", answer, reference, rtol)
            runners[name] = run
        samples = interleave(runners, self.smoke)
        medians = {name: statistics.median(s) for name, s in samples.items()}
        own = medians.get(US)
        rows = []
        for name, times in samples.items():
            ratio = medians[name] / own if own else None
            result = {
                "workload": self.workload,
                "case": case,
                "contender": name,
                "unit": "s",
                "median": medians[name],
                "best": min(times),
                "samples": len(times),
                "ratio": ratio,
            }
            row = [name, seconds(medians[name]), seconds(min(times)), "" if ratio is None else f"{ratio:.2f}"]
            if operations:
                result["per_operation"] = medians[name] / operations
                row.append(seconds(medians[name] / operations))
            if targets:
                wanted = targets.get(name, {})
                said = []
                for form, allowed in (wanted if isinstance(wanted, Mapping) else {US: wanted}).items():
                    if form not in medians:
                        continue
                    share = medians[form] / medians[name]
                    outcome = {"share": share, "allowed": allowed, "met": share <= allowed}
                    result.setdefault("targets", {})[form] = outcome
                    if not said:
                        result.update(outcome)
                    shown = "" if form == US else f"{form.removeprefix(US).lstrip(', ')} "
                    verdict = "met" if share <= allowed else "MISSED"
                    said.append(f"{shown}{share:.3g} (<= {allowed:g}: {verdict})")
                row.append("; ".join(said))
            self.results.append(result)
            rows.append(row)
        head = ["", "median", "best", f"/ {US}"] + (["per operation"] if operations else [])
        head += [f"{US} takes"] if targets else []
        print_table(case, head, rows)
        return medians

    # --- other figures ----------------------------------------------------------------------------

    def record(self, case: str, figures: Mapping[str, float], unit: str, digits: int = 2) -> None:
        """Print and keep one figure per contender that is not a time of `contest`."""
        ours = figures.get(US)
        rows = []
        for name, value in figures.items():
            ratio = value / ours if ours else None
            self.results.append(
                {
                    "workload": self.workload,
                    "case": case,
                    "contender": name,
                    "unit": unit,
                    "value": value,
                    "ratio": ratio,
                }
            )
            shown = seconds(value) if unit == "s" else f"{value:.{digits}f} {unit}"
            rows.append([name, shown, f"{ratio:.2f}"] if ratio and len(figures) > 1 else [name, shown])
        print_table(case, ["", "", f"/ {US}"][: len(rows[0])], rows)

    def note(self, case: str, text: str) -> None:
        """Print and keep a remark, e.g. why a contender is not there."""
        self.results.append({"workload": self.workload, "case": case, "note": text})
        print(f"\n  {case}: {text}", flush=True)

    def geometric_mean(self, case: str, contests: Iterable[Mapping[str, float]]) -> None:
        """Print each contender's geometric mean of its ratios to tapegrad."""
        logs: dict[str, list[float]] = {}
        for medians in contests:
            for name, value in medians.items():
                logs.setdefault(name, []).append(math.log(value / medians[US]))
        means = {name: math.exp(statistics.fmean(values)) for name, values in logs.items()}
        for name, ratio in means.items():
            self.results.append(
                {
                    "workload": self.workload,
                    "case": case,
                    "contender": name,
                    "unit": "ratio",
                    "ratio": ratio,
                }
            )
        print_table(case, ["", f"/ {US}"], [[name, f"{ratio:.2f}"] for name, ratio in means.items()])


def interleave(runners: Mapping[str, Runner], smoke: bool) -> dict[str, list[float]]:
    """Time contenders in turn; return seconds per call, one entry per round."""
    clock = time.perf_counter
    warm, sample, rounds = (0.0, 0.0, 2) if smoke else (0.2, 0.02, 15)
    calls: dict[str, int] = {}
    turns: dict[str, int] = {}
    for name, run in runners.items():
        start, times = clock(), []
        while len(times) < 3 or clock() - start < warm:
            before = clock()
            run()
            times.append(clock() - before)
            if len(times) >= 3 and clock() - start > 4.0:
                break
        calls[name] = max(1, math.ceil(sample / statistics.median(times)))
        turns[name] = rounds if statistics.median(times) < SLOW else min(rounds, 5)
    samples: dict[str, list[float]] = {name: [] for name in runners}
    gc.collect()
    gc.freeze()  # or each collection below walks through all the libraries: most of a run's time
    try:
        for turn in range(rounds):
            for name, run in runners.items():
                if turn >= turns[name]:
                    continue
                gc.collect()  # nobody pays for what another left behind
                n = calls[name]
                before = clock()
                for _ in range(n):
                    run()
                samples[name].append((clock() - before) / n)
    finally:
        gc.unfreeze()
    return samples


# --- answers --------------------------------------------------------------------------------------


def flatten(answer: Any) -> list[Any]:
    """List the arrays of an answer, as NumPy arrays."""
    import numpy as np

    if isinstance(answer, (tuple, list)):
        return [a for part in answer for a in flatten(part)]
    if hasattr(answer, "detach"):
        answer = answer.detach().numpy()
    return [np.asarray(answer)]


def compare(what: str, answer: Any, reference: Any, rtol: float) -> None:
    """Raise `Mismatch` unless every array agrees with the reference in shape and value."""
    import numpy as np

    got, expected = flatten(answer), flatten(reference)
    if len(got) != len(expected):
        raise Mismatch(f"{what}: {len(got)} results, expected {len(expected)}")
    for k, (a, b) in enumerate(zip(got, expected)):
        if a.shape != b.shape:
            raise Mismatch(f"{what}: result {k} has shape {a.shape}, expected {b.shape}")
        if a.size == 0:
            continue
        error = float(np.max(np.abs(a - b)))
        limit = rtol * float(np.max(np.abs(b)))
        if not error <= limit:  # also catches NaN
            raise Mismatch(f"{what}: result {k} is off by {error:.3g}, allowed {limit:.3g}")


# --- output ---------------------------------------------------------------------------------------


def seconds(t: float) -> str:
    """Format a time with three significant digits."""
    units = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    unit = next((u for u, scale in units.items() if t >= scale), "ns")
    value = t / units[unit]
    return f"{value:.{max(0, 2 - int(math.log10(value)) if value >= 1 else 3)}f} {unit}"


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print left-aligned names and right-aligned figures."""
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    widths[0] = max(widths[0], 10)
    print(f"\n  {title}")
    for row in [head, *rows] if any(head) else rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        print("    " + "  ".join(cells).rstrip())
    sys.stdout.flush()


def machine() -> dict[str, Any]:
    """Describe what the figures depend on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    versions = {"python": platform.python_version()}
    for name in (US, "numpy", "numba", "scipy", *peers.PEERS):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name == US:
                import tapegrad

                versions[name] = tapegrad.__version__
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": model,
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": THREADS,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


# --- the command line -----------------------------------------------------------------------------


def parse(argv: Sequence[str] | None, workloads: Sequence[str]) -> argparse.Namespace:
    """Read the options; ``workloads`` are the names to choose from."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks" if len(workloads) > 1 else f"python -m benchmarks.{workloads[0]}",
        description="Time tapegrad and its peers at the same tasks, after comparing their answers.",
    )
    if len(workloads) > 1:
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(workloads)} (all)")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, no peers: does it run?")
    parser.add_argument("--no-targets", action="store_true", help="do not sum up which targets are met")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    parser.add_argument(
        "--peers",
        metavar="LIST",
        help=f"libraries to compare with, separated by commas ({','.join(peers.PEERS)}; '' for none)",
    )
    options = parser.parse_args(argv)
    options.names = getattr(options, "names", None) or list(workloads)
    for name in options.names:
        if name not in workloads:
            parser.error(f"unknown workload {name!r}; choose from {', '.join(workloads)}")
    if options.peers is None:
        options.peers = [] if options.smoke else list(peers.PEERS)
    else:
        options.peers = [name for name in options.peers.split(",") if name]
        for name in options.peers:
            if name not in peers.PEERS:
                parser.error(f"unknown peer {name!r}; choose from {', '.join(peers.PEERS)}")
    return options


def main(
    load: Callable[[str], Callable[[Session], None]],
    workloads: Sequence[str],
    argv: Sequence[str] | None = None,
) -> int:
    """Run workloads and return the exit status: 1 if one of them failed."""
    options = parse(argv, workloads)
    session = Session(options.smoke, options.peers)
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, {about['threads']} thread(s), {about['system']}")
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    if busy(about) and not options.smoke:
        print(f"other processes are running (load {about['load'][0]:.1f}): figures are provisional")
    took: dict[str, float] = {}
    for name in options.names:
        session.workload = name
        print(f"\n{name}")
        before = time.perf_counter()
        try:
            load(name)(session)
        except Exception as error:  # the others' figures are not lost for it
            if not isinstance(error, Mismatch):
                traceback.print_exc()
            session.failed.append({"workload": name, "message": f"{type(error).__name__}: {error}"})
            print(f"  FAILED: {error}", file=sys.stderr, flush=True)
        took[name] = time.perf_counter() - before
        for result in session.results:
            result.setdefault("threads", THREADS)
        if options.json:
            write(options.json, session, about, took)
    if not options.smoke and not options.no_targets:
        from benchmarks import targets

        outcomes = targets.evaluate(session.results)
        if set(options.names) != set(workloads) or len(workloads) == 1:
            outcomes = [o for o in outcomes if o.target.workload in options.names]
        if outcomes:
            print_table("targets", targets.HEAD, targets.rows(outcomes))
        slowest = sorted(took, key=lambda name: -took[name])[:5]
        print(f"\n{sum(took.values()):.0f} s; most of it: ", end="")
        print(", ".join(f"{name} {took[name]:.0f} s" for name in slowest))
    for failure in session.failed:
        print(f"FAILED: {failure['workload']}: {failure['message']}", file=sys.stderr)
    return 1 if session.failed else 0


def busy(about: Mapping[str, Any]) -> bool:
    """Whether other processes ran when a run began."""
    return bool(about["load"]) and about["load"][0] > 0.5


def write(path: str, session: Session, about: Mapping[str, Any], took: Mapping[str, float]) -> None:
    """Write what there is so far."""
    run = {
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": about,
        "smoke": session.smoke,
        "took": {name: round(seconds, 1) for name, seconds in took.items()},
        "results": session.results,
        "failed": session.failed,
    }
    with open(path, "w") as file:
        json.dump(run, file, indent=1)
        file.write("\n")
