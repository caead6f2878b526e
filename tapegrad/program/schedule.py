"""Scheduling a trace: how each row is run, which rows run together, and in which order.

Every row falls into one class (``C_INPUT`` ... ``C_FUSED``).  *Groups* run one after the other: a stretch of
scalars, an elementwise region, or one structured row.  As in define-by-run (``engine.plan``), a row joins the
youngest group of its kind that comes after everything it reads; in single-assignment form that moves it past
rows that do not depend on it.  Here the derivative's rows are ordinary rows, so a loss and its gradient
become
one region.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad._jit import allocate, jit, release
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import (
    ARITY,
    DTYPE,
    ITEMSIZE,
    KIND,
    KIND_ELEMENTWISE,
    KIND_INPUT,
    KIND_MOVEMENT,
    SHAPE_ID,
    SINK,
    SIZE,
    TYPED_BY,
)
from tapegrad.ops.table import ROWS, Kind
from tapegrad.spec import table as spec_table
from tapegrad.trace import OP, SIG, SPEC, Trace, X, Z

__all__ = [
    "BATCH_LIMIT",
    "C_CALL",
    "C_FUSED",
    "C_INPUT",
    "C_LOAD",
    "C_NATIVE",
    "C_REGION",
    "C_SCALAR",
    "C_SINK",
    "C_VIEW",
    "G_CALL",
    "G_NATIVE",
    "G_REGION",
    "G_SCALARS",
    "Schedule",
]  # fmt: skip

# Classes of rows.
C_INPUT = 0
C_SCALAR = 1  # one element, in the program's memory: run inline
C_REGION = 2  # elementwise over an array
C_SINK = 3  # a full sum, run by the region of its operand
C_CALL = 4  # a structured or movement kernel
C_VIEW = 5  # a block of its operand's memory: nothing to run
C_LOAD = 6  # one element of an array outside of the program's memory: copied
C_FUSED = 7  # a product or quotient that the only row reading it computes
C_NATIVE = 8  # machine code (``program.lower``)

G_SCALARS, G_REGION, G_CALL, G_NATIVE = 0, 1, 2, 3  # kinds of groups

BATCH_LIMIT = 512  # calls of one kernel that are made at once
NATIVE_BATCH = 64  # the same in machine code, where an operand may be a small array
REGION_LIMIT = 384  # rows: bounds the registers of a region


@jit
def _classify(code, info, specs, blocks, far, native, cls, root, offset):
    """Class of each row; for views, whose memory they show and where (in bytes).

    ``blocks[sig]`` tells whether a movement takes a contiguous block; ``far[i]`` whether an input is not
    copied into the program's memory; ``native[i]`` whether a row becomes machine code.
    """
    for i in range(len(code)):
        op, spec = code[i, OP], code[i, SPEC]
        kind = info[op, KIND]
        size = specs[spec, SIZE]
        root[i] = i
        offset[i] = 0
        if kind == KIND_INPUT:
            cls[i] = C_INPUT
            continue
        if native[i]:
            cls[i] = C_NATIVE
            continue
        if kind == KIND_MOVEMENT:
            x = code[i, X]
            if size == 1 or (size > 0 and blocks[code[i, SIG]]):
                at = offset[x] + code[i, Z] * specs[spec, ITEMSIZE]
                if (far[root[x]] and size == 1) or (size == 1 and at % 8 != 0):
                    cls[i] = C_LOAD
                else:
                    cls[i] = C_VIEW
                    root[i] = root[x]
                    offset[i] = at
            else:
                cls[i] = C_CALL
            continue
        if kind != KIND_ELEMENTWISE:
            cls[i] = C_SINK if info[op, SINK] else C_CALL
            continue
        scalar = size == 1 and specs[spec, ITEMSIZE] <= 8
        numbers = False
        dtype = specs[spec, DTYPE]
        typed = False
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o < 0:
                numbers = True
                if k < info[op, TYPED_BY]:
                    scalar = False
                continue
            if far[root[o]] or specs[code[o, SPEC], ITEMSIZE] > 8:
                scalar = False
            if not typed and k >= info[op, TYPED_BY]:
                dtype = specs[code[o, SPEC], DTYPE]
                typed = True
        if numbers and dtype != 10:
            scalar = False  # constants lie in memory as float64
        cls[i] = C_SCALAR if scalar else C_REGION


@jit
def _group(code, info, specs, cls, root, n_shapes, group, kinds, shapes, counts):
    """Put rows into groups; returns how many there are."""
    last = allocate(n_shapes + 2)
    for k in range(n_shapes + 2):
        last[k] = -1
    n = 0
    for i in range(len(code)):
        group[i] = -1
        c = cls[i]
        if c in (C_INPUT, C_VIEW):
            continue
        op = code[i, OP]
        together = c in (C_SCALAR, C_REGION, C_SINK, C_NATIVE)
        spec = code[code[i, X], SPEC] if c == C_SINK else code[i, SPEC]
        shape = specs[spec, SHAPE_ID]
        if c in (C_SCALAR, C_NATIVE):
            shape = n_shapes + (c == C_NATIVE)
        earliest = 0
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o < 0:
                continue
            r = root[o]
            g = group[r]
            if g < 0:
                continue
            inside = False
            if c == C_SCALAR:
                inside = kinds[g] == G_SCALARS
            elif c == C_NATIVE:
                inside = kinds[g] == G_NATIVE
            elif together and kinds[g] == G_REGION and r == o:
                inside = cls[o] == C_REGION and specs[code[o, SPEC], SHAPE_ID] == shape
            if not inside:
                g += 1
            earliest = max(earliest, g)
        g = -1
        if together:
            g = last[shape]
            if g < earliest or (c in (C_REGION, C_SINK) and counts[g] >= REGION_LIMIT):
                g = -1
        if g < 0:
            g = n
            n += 1
            kinds[g] = G_REGION if together else G_CALL
            if c in (C_SCALAR, C_NATIVE):
                kinds[g] = G_SCALARS if c == C_SCALAR else G_NATIVE
            shapes[g] = spec
            counts[g] = 0
            if together:
                last[shape] = g
        group[i] = g
        counts[g] += 1
    release(last)
    return n


@jit
def _fuse(code, specs, cls, root, group, readers, add, subtract, mask, multiply, divide, fused):
    """``fused[i]``: the product or quotient that row ``i`` computes itself, or -1."""
    for i in range(len(code)):
        fused[i] = -1
        op = code[i, OP]
        if cls[i] != C_SCALAR or specs[code[i, SPEC], DTYPE] != 10:
            continue
        if op != add and op != subtract and op != mask:
            continue
        for k in (1, 0):
            o = code[i, X + k]
            if o < 0 or root[o] != o or readers[o] != 1 or cls[o] != C_SCALAR or group[o] != group[i]:
                continue
            if op == mask and k == 0:
                continue
            if code[o, OP] == multiply or (op == mask and code[o, OP] == divide):
                fused[i] = o
                cls[o] = C_FUSED
                break


@jit
def _count_readers(code, info, cls, root, readers):
    for i in range(len(code)):
        for k in range(info[code[i, OP], ARITY]):
            o = code[i, X + k]
            if o >= 0:
                readers[root[o]] += 1


@jit
def _push(heap, n, value):
    k = n
    while k > 0 and heap[(k - 1) >> 1] > value:
        heap[k] = heap[(k - 1) >> 1]
        k = (k - 1) >> 1
    heap[k] = value
    return n + 1


@jit
def _pop(heap, n):
    """Remove the least of ``n`` values; it is returned."""
    least = heap[0]
    last = heap[n - 1]
    m = n - 1
    k = 0
    while True:
        child = 2 * k + 1
        if child >= m:
            break
        if child + 1 < m and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= last:
            break
        heap[k] = heap[child]
        k = child
    heap[k] = last
    return least


@jit
def _batch_calls(
    code, info, cls, root, group, queue_of, n_queues, rows, position, limit, out, batch, n_batches,
):  # fmt: skip
    """Order a stretch of scalars so that calls of one kernel come together; returns the number of batches.

    Rows run in tape order as far as they can; calls (``queue_of[i] >= 0``) wait.  When nothing else is
    ready, the longest queue runs at once: its kernel is called on all of it and works with vectors.
    ``batch[i]`` numbers the call that a row belongs to.
    """
    n = len(rows)
    missing, first, fill, heap = allocate(n), allocate(n + 1), allocate(n), allocate(n)
    following, fresh = allocate(n), allocate(n)
    first[n] = 0
    for m in range(n):
        position[rows[m]] = m
        missing[m] = first[m] = 0
        following[m] = -1
    for m in range(n):
        i = rows[m]
        for k in range(info[code[i, OP], ARITY]):
            o = code[i, X + k]
            if o >= 0 and group[root[o]] == group[i]:
                missing[m] += 1
                first[position[root[o]] + 1] += 1
    for m in range(n):
        first[m + 1] += first[m]
        fill[m] = first[m]
    readers = allocate(max(first[n], 1))
    for m in range(n):
        i = rows[m]
        for k in range(info[code[i, OP], ARITY]):
            o = code[i, X + k]
            if o >= 0 and group[root[o]] == group[i]:
                p = position[root[o]]
                readers[fill[p]] = m
                fill[p] += 1
    n_heap = 0
    queue_first, queue_last, queue_length = allocate(n_queues), allocate(n_queues), allocate(n_queues)
    for q in range(n_queues):
        queue_first[q] = queue_last[q] = -1
        queue_length[q] = 0
    done = 0
    n_fresh = 0
    for m in range(n):
        if missing[m] == 0:
            fresh[n_fresh] = m
            n_fresh += 1
    while done < n:
        for f in range(n_fresh):
            m = fresh[f]
            q = queue_of[rows[m]]
            if q < 0:
                n_heap = _push(heap, n_heap, m)
                continue
            if queue_last[q] >= 0:
                following[queue_last[q]] = m
            else:
                queue_first[q] = m
            queue_last[q] = m
            queue_length[q] += 1
        n_fresh = 0
        start = done
        if n_heap > 0:
            out[done] = _pop(heap, n_heap)
            n_heap -= 1
            done += 1
        else:
            best = 0
            for q in range(n_queues):
                if queue_length[q] > queue_length[best]:
                    best = q
            m = queue_first[best]
            count = 0
            while m >= 0 and count < limit:
                out[done] = m
                batch[rows[m]] = n_batches
                done += 1
                count += 1
                m = following[m]
            n_batches += 1
            queue_first[best] = m
            queue_length[best] -= count
            if m < 0:
                queue_last[best] = -1
        for d in range(start, done):
            p = out[d]
            for e in range(first[p], first[p + 1]):
                missing[readers[e]] -= 1
                if missing[readers[e]] == 0:
                    fresh[n_fresh] = readers[e]
                    n_fresh += 1
    for m in range(n):
        out[m] = rows[out[m]]
    for rows_each in (missing, first, fill, heap, following, fresh, readers):
        release(rows_each)
    for queues_each in (queue_first, queue_last, queue_length):
        release(queues_each)
    return n_batches


class Schedule:
    """The order in which a trace runs.

    Attributes
    ----------
    cls, root, offset : ndarray
        Per row: its class; for views, whose memory it shows and from which byte.
    group : ndarray
        Per row, its group; -1 for rows that are not run.
    kinds, shapes : ndarray
        Per group: its kind, and a spec of its shape.
    members : list of ndarray
        Per group, its rows in order.
    fused : ndarray
        Per row, the product or quotient it computes itself, or -1.
    batch : ndarray
        Per row, the call of several rows that it belongs to, or -1.

    Parameters
    ----------
    trace : Trace
    far : ndarray of bool
        Values that do not lie in the program's memory.
    pinned : list of int
        Slots that are read from outside.
    kernel, callable_ : ndarray
        Per row, its kernel, and whether several such scalars can be run by one call of it.
    native : ndarray of bool
        Rows that become machine code.
    """

    def __init__(
        self,
        trace: Trace,
        far: np.ndarray,
        pinned: list[int],
        kernel: np.ndarray,
        callable_: np.ndarray,
        native: np.ndarray,
    ) -> None:
        code, n = trace.code, len(trace)
        info, specs = library.info, spec_table.rows
        blocks = np.array([_takes_block(s) for s in trace.signatures] or [False])
        self.cls, self.root, self.offset = (np.zeros(n, np.int64) for _ in range(3))
        _classify(code, info, specs, blocks, far, native, self.cls, self.root, self.offset)
        self.group, self.fused = np.zeros(n, np.int64), np.zeros(n, np.int64)
        kinds, shapes, counts = (np.zeros(n + 1, np.int64) for _ in range(3))
        count = _group(
            code,
            info,
            specs,
            self.cls,
            self.root,
            len(spec_table.shape_ids),
            self.group,
            kinds,
            shapes,
            counts,
        )
        self.kinds, self.shapes = kinds[:count], shapes[:count]
        readers = np.zeros(n, np.int64)
        _count_readers(code, info, self.cls, self.root, readers)
        for slot in pinned:
            readers[self.root[slot]] += 2
        self.readers = readers
        ops = [ROWS[name].op for name in ("add", "subtract", "unless_zero", "multiply", "divide")]
        _fuse(code, specs, self.cls, self.root, self.group, readers, *ops, self.fused)
        run = np.flatnonzero(self.group >= 0)
        order = run[np.argsort(self.group[run], kind="stable")]
        self.members = (
            np.split(order, np.searchsorted(self.group[order], np.arange(1, count))) if count else []
        )
        self.batch = np.full(n, -1, np.int64)
        self._batch_calls(code, kernel, callable_)
        self.order = np.concatenate(self.members) if count else order

    def _batch_calls(self, code: np.ndarray, kernel: np.ndarray, called: np.ndarray) -> None:
        """Bring calls of the same kernel together, stretch by stretch."""
        position = np.zeros(len(code), np.int64)
        batches = 0
        for g in np.flatnonzero((self.kinds == G_SCALARS) | (self.kinds == G_NATIVE)).tolist():
            rows = self.members[g]
            calls = rows[called[rows] & ((self.cls[rows] == C_SCALAR) | (self.cls[rows] == C_NATIVE))]
            if len(calls) < 2:
                continue
            which, queue = np.unique(kernel[calls], return_inverse=True)
            queue_of = np.full(len(code), -1, np.int64)
            queue_of[calls] = queue.reshape(-1)
            out = np.empty(len(rows), np.int64)
            limit = BATCH_LIMIT if self.kinds[g] == G_SCALARS else NATIVE_BATCH
            batches = _batch_calls(
                code, library.info, self.cls, self.root, self.group, queue_of, len(which), rows, position,
                limit, out, self.batch, batches,
            )  # fmt: skip
            self.members[g] = out


def _takes_block(signature: Any) -> bool:
    """Whether a movement's elements lie together, in order."""
    if signature.row.kind is not Kind.MOVEMENT:
        return False
    step = 1
    for length, stride in zip(reversed(signature.static["shape"]), reversed(signature.static["strides"])):
        if length != 1 and stride != step:
            return False
        step *= length
    return True
