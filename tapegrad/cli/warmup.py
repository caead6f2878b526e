"""``python -m tapegrad warmup``: compile everything ahead of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

import tapegrad as tg
from tapegrad.cli.show import progress

__all__ = ["rehearse", "run"]


def run(dtypes: list[str] | None) -> int:
    """Compile (or load) the engine and every kernel; return the exit status."""
    from tapegrad import _jit
    from tapegrad.engine import threads
    from tapegrad.engine.kernel_table import library
    from tapegrad.engine.layout import WORK_CALLS, WORK_REGION, WORK_TILES

    begin = time.perf_counter()
    chosen = tuple(dtypes or ("float64",))
    parts = [part for dtype in chosen for part in rehearse(dtype)]
    work = library.warm(chosen)
    done, kernels, name = next(work)
    total = kernels + len(parts)
    with progress("kernels", total) as update:
        for k, (part, rehearsal) in enumerate(parts):
            update(k, part)
            rehearsal()
        update(len(parts), name)
        for done, _, name in work:
            update(len(parts) + done, name)
    for kind in (WORK_REGION, WORK_TILES, WORK_CALLS):
        threads.work(kind)
    seconds = time.perf_counter() - begin
    print(
        f"The engine and {kernels} kernels ready in {seconds:.1f} s, "
        f"{len(_jit.compiled)} functions compiled just now."
    )
    print(f"Kept in {_jit.CACHE_DIR}" if _jit.CACHE_DIR else "No writable cache folder: nothing was kept.")
    return 0


def rehearse(dtype: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Programs that between them reach the functions of the engine, by name; to be run one by one."""
    x = np.linspace(-1, 1, 12, dtype=dtype).reshape(4, 3)
    w = np.linspace(0.5, 1, 3, dtype=dtype)
    one = x.dtype.type(1)

    def model(w: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        z = tg.matmul(x, w) + b
        mask = z > 0
        kept = tg.where(mask & ~(z > 3) | (z == 9), z, tg.exp(z))
        return tg.mean(tg.logaddexp(kept, one) - tg.sigmoid(z) * tg.tanh(kept)) + tg.sum(tg.square(z[1:]))

    def by_run() -> None:
        for _ in range(2):
            leaf, bias = (tg.as_tensor(v, requires_grad=True) for v in (w, one))
            loss = model(leaf, bias)
            loss.item()
            loss.backward()
        total = leaf
        for _ in range(2200):  # long enough for the tape to be reclaimed
            total = total * one
        tg.sum(total).item()
        first = tg.as_tensor(w, requires_grad=True)
        (g,) = tg.autograd.grad(tg.sum(first**3 * first), [first], create_graph=True)
        tg.sum(g).backward()

    def transformed() -> None:
        single = lambda v: model(v, one)  # noqa: E731
        tg.value_and_grad(model, argnums=(0, 1))(w, one)
        tg.jvp(single, (w,), (w,))
        tg.hessian(single)(w)
        tg.vmap(lambda row: tg.sum(tg.sin(row) * row))(x)
        tg.jacobian(lambda v: tg.matmul(x, v))(w)

    def compiled() -> None:
        for function in (model, tg.value_and_grad(model, argnums=(0, 1))):
            fast = tg.compile(function)
            for _ in range(2):
                fast(w, one)

        @tg.compile
        def scalars(a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
            y = a
            for _ in range(3):
                y = tg.sin(y) * b - y / (a + 2.0)
            return y if y < 9 else a

        for _ in range(2):
            scalars(float(one), 2.0)
        tg.compile(tg.grad(scalars))(float(one), 2.0)

    for part in (by_run, transformed, compiled):
        yield f"{part.__name__} {dtype}", part
