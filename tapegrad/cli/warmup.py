"""``python -m tapegrad warmup``: compile kernels ahead of time."""

from __future__ import annotations

import time

from tapegrad.cli.show import progress

__all__ = ["run"]


def run(dtypes: list[str] | None) -> int:
    """Compile (or load) every kernel; return the exit status."""
    from tapegrad import _jit
    from tapegrad.engine import threads
    from tapegrad.engine.kernel_table import library
    from tapegrad.engine.layout import WORK_CALLS, WORK_REGION, WORK_TILES

    begin = time.perf_counter()
    work = library.warm(tuple(dtypes or ("float64",)))
    done, total, name = next(work)
    with progress("kernels", total) as update:
        update(done, name)
        for done, _, name in work:
            update(done, name)
    for kind in (WORK_REGION, WORK_TILES, WORK_CALLS):
        threads.work(kind)
    seconds = time.perf_counter() - begin
    print(f"{total} kernels ready in {seconds:.1f} s, {len(_jit.compiled)} of them compiled just now.")
    print(f"Kept in {_jit.CACHE_DIR}" if _jit.CACHE_DIR else "No writable cache folder: nothing was kept.")
    return 0
