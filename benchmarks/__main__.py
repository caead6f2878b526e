"""Run workloads, or make the page of their figures.

``python -m benchmarks [NAME ...] [--smoke] [--json FILE] [--peers LIST]``
``python -m benchmarks report FILE [FILE ...]``
"""

import importlib
import sys

from benchmarks.harness import main

# those that measure this process itself come before the ones that load the peers into it
DEFINE_BY_RUN = ("loops", "scalars", "mlp_step", "chain", "logistic", "black_scholes", "two_threads")
COMPILED = ("compiled", "rk4", "arm", "states", "kalman", "first_gradient")
ARRAYS = ("mlp", "cnn", "gmm", "kalman_vector", "gp", "lstm", "ratio")
WORKLOADS = (
    "startup", "memory", "replay_memory", "peak", "threads", *DEFINE_BY_RUN, *COMPILED, *ARRAYS, "functions",
)  # fmt: skip


def load(name):
    return importlib.import_module(f"benchmarks.{name}").run


if __name__ == "__main__":
    if sys.argv[1:2] == ["report"]:
        from benchmarks.report import command

        sys.exit(command(sys.argv[2:]))
    sys.exit(main(load, WORKLOADS))
