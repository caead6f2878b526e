"""Passes: each rewrites a trace into one that computes the same.

They run in the order of ``ORDER``; a test holds every one of them, and all together, to the values and
derivatives of the trace they were given.
"""

from __future__ import annotations

from collections.abc import Callable

from tapegrad.program.passes.accumulate import accumulate_in_place
from tapegrad.program.passes.common import merge_common
from tapegrad.program.passes.dead import remove_dead
from tapegrad.program.passes.fold import fold_constants, name_scalars
from tapegrad.program.passes.products import absorb_transposes, add_products_in_place
from tapegrad.program.passes.signs import move_signs
from tapegrad.program.passes.simplify import simplify
from tapegrad.program.passes.uniform import compute_uniform_once
from tapegrad.trace import Trace

__all__ = ["ORDER", "optimise"]

ORDER: tuple[Callable[[Trace], Trace], ...] = (
    remove_dead,
    simplify,
    compute_uniform_once,
    fold_constants,
    simplify,
    name_scalars,
    simplify,
    merge_common,
    move_signs,
    merge_common,
    accumulate_in_place,
    absorb_transposes,
    remove_dead,
    add_products_in_place,
    remove_dead,
)


def optimise(trace: Trace) -> Trace:
    """Run all passes."""
    for step in ORDER:
        trace = step(trace)
    return trace
