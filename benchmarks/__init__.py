"""Benchmarks: one file per workload, peers beside tapegrad in the same run.

``python -m benchmarks`` runs all of them, ``python -m benchmarks.chain`` one.  Every contender's answer is
compared with a hand-written NumPy reference before anything is timed; a wrong answer fails the run.

Numeric libraries read the number of threads when they are imported, so it is pinned here, before any of
them is.  ``TAPEGRAD_BENCH_THREADS`` chooses another number than one.
"""

import os

THREADS = int(os.environ.get("TAPEGRAD_BENCH_THREADS", "1"))

for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",  # XLA's thread pool
    "TAPEGRAD_NUM_THREADS",
):
    os.environ[_name] = str(THREADS)
if THREADS == 1:
    _flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in _flags:
        os.environ["XLA_FLAGS"] = f"{_flags} --xla_cpu_multi_thread_eigen=false".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")
