"""``python -m tapegrad info``: what a bug report needs."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import tapegrad
from tapegrad.cli.show import heading, print_table

__all__ = ["run"]

INTERESTING = ("avx2", "avx512f", "fma", "neon", "sse4.2", "sve")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def run() -> int:
    """Print versions, CPU, cache and threads; return 0."""
    from tapegrad import _jit, _machine

    heading("Versions")
    rows = [("tapegrad", tapegrad.__version__), ("python", platform.python_version())]
    rows += [(name, _version(name)) for name in ("numpy", "numba", "llvmlite", "scipy", "rich")]
    print_table(("package", "version"), [*rows, ("platform", platform.platform())])

    heading("CPU")
    processor, features = _machine.host()
    found = [name for name in INTERESTING if f"+{name}" in features.split(",")]
    print_table(
        ("", "value"),
        [("name", processor), ("features used", ", ".join(found) or "none of note")],
    )

    heading("Kernel cache")
    folder = _jit.CACHE_DIR
    if folder is None:
        print("no writable folder: kernels are compiled anew in each process (set TAPEGRAD_CACHE_DIR)")
    else:
        files = [f for f in folder.iterdir() if f.is_file()]
        kernels = [f for f in files if f.suffix == ".code"]
        print_table(
            ("", "value"),
            [
                ("folder", folder),
                ("chosen as", _jit.CACHE_ORIGIN),
                ("kernels", len(kernels)),
                ("bytes", sum(f.stat().st_size for f in files)),
            ],
        )

    heading("Threads")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows = [("cores this process may use", str(cores))]
    rows += [(name, os.environ[name]) for name in THREAD_VARIABLES if name in os.environ]
    print_table(("", "value"), rows)
    return 0
