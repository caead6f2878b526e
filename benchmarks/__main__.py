"""``python -m benchmarks [NAME ...] [--smoke] [--json FILE] [--peers LIST]``."""

import importlib
import sys

from benchmarks.harness import main

# those that measure this process itself come before the ones that load the peers into it
DEFINE_BY_RUN = ("loops", "mlp_step", "chain", "logistic", "black_scholes")
COMPILED = ("compiled", "rk4", "arm", "states", "kalman", "first_gradient")
ARRAYS = ("mlp", "gmm", "kalman_vector", "gp", "lstm", "ratio")
WORKLOADS = ("startup", "memory", "replay_memory", "threads", *DEFINE_BY_RUN, *COMPILED, *ARRAYS, "functions")


def load(name):
    return importlib.import_module(f"benchmarks.{name}").run


if __name__ == "__main__":
    sys.exit(main(load, WORKLOADS))
