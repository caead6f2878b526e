"""What slots depend on: scans over the tape that record nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tapegrad.engine import expand as E
from tapegrad.engine import layout as L
from tapegrad.engine.kernel_table import library
from tapegrad.engine.memory import address_of
from tapegrad.sweeps.sweep import Sweep
from tapegrad.tape import GRAD, OP_MASK, Tape

__all__ = ["inputs_of", "reaches", "sources"]


def reaches(tape: Tape, roots: Iterable[int], goals: Iterable[int]) -> bool:
    """Whether one of some slots lies among what the roots are differentiated by, or through."""
    sweep = Sweep(tape, E.sweep_reverse)
    sweep.frame[E.E_SOURCE] = address_of(tape.code)
    for slot in roots:
        sweep.wanted[slot] = 1
    E.mark_wanted(sweep.frame, 0, sweep.n, True)
    return any(sweep.wanted[slot] for slot in goals)


def inputs_of(tape: Tape, slot: int) -> list[int]:
    """The input rows that a slot is computed from."""
    sweep = Sweep(tape, E.sweep_reverse)
    sweep.frame[E.E_SOURCE] = address_of(tape.code)
    sweep.wanted[slot] = 1
    E.mark_wanted(sweep.frame, 0, slot + 1, False)
    rows = np.flatnonzero(sweep.wanted)
    return rows[library.info[tape.code[rows, L.OP] & OP_MASK, L.ARITY] == 0].tolist()


def sources(tape: Tape, outs: Iterable[int], start: int) -> list[int]:
    """Slots before ``start``, and leaves, by which some slots are differentiated."""
    sweep = Sweep(tape, E.sweep_reverse)
    sweep.frame[E.E_SOURCE] = address_of(tape.code)
    for slot in outs:
        sweep.wanted[slot] = 1
    found: set[int] = set()
    waiting = {slot: node for slot, node in tape.functions.items() if slot >= start}
    while True:
        E.mark_wanted(sweep.frame, start, sweep.n, True)
        reached = [slot for slot in waiting if sweep.wanted[slot]]
        if not reached:
            break
        for slot in reached:  # what a user's function depends on is not on the tape
            for i in waiting.pop(slot).in_slots:
                if i >= start:
                    sweep.wanted[i] = 1
                elif i >= 0:
                    found.add(i)
    rows = np.flatnonzero(sweep.wanted)
    rows = rows[tape.code[rows, L.OP] & GRAD != 0]
    info = library.info[tape.code[rows, L.OP] & OP_MASK]
    found.update(rows[(info[:, L.RULES] == 0) | (rows < start)].tolist())
    for k in range(3):
        operands = tape.code[rows[(info[:, L.ARITY] > k) & (info[:, L.RULES] != 0)], L.X + k]
        operands = operands[(operands >= 0) & (operands < start)]
        found.update(operands[tape.code[operands, L.OP] & GRAD != 0].tolist())
    return sorted(found)
