"""Placing values: every stored value gets a place in the program's memory, reused once nobody reads it.

Memory is one block per running instance, so a replay allocates nothing.  Places are handed out in the
order in which rows run; a place comes back when the last row that reads it has run, and goes to the next
value of the same size.
"""

from __future__ import annotations

import numpy as np

from tapegrad._jit import jit
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY, ITEMSIZE, SIZE
from tapegrad.ops.table import rows
from tapegrad.program.schedule import C_CALL, C_FUSED, C_INPUT, C_NATIVE, C_REGION, C_SCALAR, Schedule
from tapegrad.spec import table as spec_table
from tapegrad.trace import OP, SPEC, Trace, X

__all__ = ["next_place", "place_values"]

FOREVER = 1 << 60
NOWHERE = -1


def next_place(top, nbytes):
    """Where ``nbytes`` go in a memory that is taken up to ``top``, and how far it is taken then."""
    if nbytes > 64:
        top = (top + 63) & -64
    return top, top + max((nbytes + 7) & -8, 8)


@jit
def _last_reads(code, info, cls, root, fused, order, unit, last):
    """``last[root]``: the last unit that reads a value."""
    for m in range(len(order)):
        i = order[m]
        if cls[i] == C_FUSED:
            continue
        for k in range(info[code[i, OP], ARITY]):
            o = code[i, X + k]
            if o < 0:
                continue
            if fused[i] == o:
                for j in range(2):
                    p = code[o, X + j]
                    if p >= 0:
                        last[root[p]] = max(last[root[p]], unit[m])
            else:
                last[root[o]] = max(last[root[o]], unit[m])


@jit
def _needs_place(code, info, cls, root, group, pinned, needs):
    """Rows of a region, or of machine code, are written to memory if somebody outside of it reads them."""
    for i in range(len(code)):
        if cls[i] == C_REGION or cls[i] == C_NATIVE:
            needs[i] |= pinned[i]
        elif root[i] == i and cls[i] != C_FUSED and cls[i] != C_INPUT:
            needs[i] = 1
        for k in range(info[code[i, OP], ARITY]):
            o = code[i, X + k]
            if o >= 0 and (root[o] != o or group[o] != group[i] or group[i] < 0):
                needs[root[o]] = 1


@jit
def _place(
    code, info, specs, cls, root, offset, order, unit, last, needs, far, in_place, classes, heads, links,
    next_dying, first_dying, start, place,
):  # fmt: skip
    """Hand out places; returns the size of the memory.

    ``classes[i]`` numbers the size of a value, ``heads`` are the free lists of each size.
    """
    top = start
    n = len(order)
    m = 0
    while m < n:
        stop = m
        while stop < n and unit[stop] == unit[m]:
            stop += 1
        u = unit[m]
        scalar = cls[order[m]] == C_SCALAR or cls[order[m]] == C_FUSED
        for round in range(2):
            if (round == 0) == scalar:  # a scalar's operands may be overwritten by its result
                r = first_dying[u]
                while r >= 0:
                    if place[r] >= 0 and links[r] == -2:
                        links[r] = heads[classes[r]]
                        heads[classes[r]] = r
                    r = next_dying[r]
                continue
            for k in range(m, stop):
                i = order[k]
                if not needs[i] or far[i] or cls[i] == C_FUSED:
                    continue
                x = code[i, X]
                if cls[i] == C_CALL and in_place[code[i, OP]] and x >= 0:
                    r = root[x]
                    same = classes[r] == classes[i] and place[r] >= 0 and links[r] == -2 and offset[x] == 0
                    if same and last[r] == u and cls[r] != C_INPUT:
                        alone = True
                        for j in range(1, info[code[i, OP], ARITY]):
                            o = code[i, X + j]
                            if o >= 0 and root[o] == r:
                                alone = False
                        if alone:
                            place[i] = place[r]
                            links[i] = -2
                            links[r] = -3  # its place lives on under another name
                            continue
                head = heads[classes[i]]
                if head >= 0:
                    heads[classes[i]] = links[head]
                    links[head] = -3
                    place[i] = place[head]
                else:
                    nbytes = specs[code[i, SPEC], SIZE] * specs[code[i, SPEC], ITEMSIZE]
                    place[i], top = next_place(top, nbytes)
                links[i] = -2
        m = stop
    return top


def place_values(trace: Trace, schedule: Schedule, far: np.ndarray, pinned: list[int], start: int) -> tuple:
    """Offsets into memory of all stored values (-1: not stored there), and the memory's size in bytes.

    ``far[i]`` marks values that live elsewhere, ``pinned`` slots are read after the program has run; memory
    below
    ``start`` is taken.
    """
    code, n = trace.code, len(trace)
    info, specs = library.info, spec_table.rows
    s = schedule
    pinned_rows = np.zeros(n, np.int64)
    pinned_rows[[s.root[i] for i in pinned]] = 1
    order = s.order
    # a region is one unit, a scalar row one of its own
    fresh = np.ones(len(order), np.int64)
    if len(order):
        same = s.group[order[1:]] == s.group[order[:-1]]
        fresh[1:] = ~(same & (s.cls[order[1:]] != C_SCALAR) & (s.cls[order[1:]] != C_FUSED))
    unit = np.cumsum(fresh) - 1
    last = np.full(n, -1, np.int64)
    _last_reads(code, info, s.cls, s.root, s.fused, order, unit, last)
    needs = np.zeros(n, np.int64)
    _needs_place(code, info, s.cls, s.root, s.group, pinned_rows, needs)
    # the unit that writes a value also keeps it, even if nothing reads it
    np.maximum.at(last, order, unit)
    last[pinned_rows != 0] = FOREVER
    nbytes = specs[code[:, SPEC], SIZE] * specs[code[:, SPEC], ITEMSIZE]
    _, classes = np.unique(np.maximum((nbytes + 7) & -8, 8), return_inverse=True)
    classes = classes.reshape(-1)
    first_dying = np.full(len(order) + 1, -1, np.int64)
    next_dying = np.full(n, -1, np.int64)
    _link(last, first_dying, next_dying)
    place = np.full(n, NOWHERE, np.int64)
    heads = np.full(int(classes.max(initial=0)) + 1, -1, np.int64)
    links = np.full(n, -3, np.int64)
    in_place = np.array([row.in_place for row in rows])
    top = _place(
        code, info, specs, s.cls, s.root, s.offset, order, unit, last, needs, far, in_place, classes, heads,
        links, next_dying, first_dying, start, place,
    )  # fmt: skip
    return place, needs, int(top)


@jit
def _link(last, first_dying, next_dying):
    """Lists of the values that die with each unit."""
    for r in range(len(last)):
        u = last[r]
        if 0 <= u < len(first_dying):
            next_dying[r] = first_dying[u]
            first_dying[u] = r
