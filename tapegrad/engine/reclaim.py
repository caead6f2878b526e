"""Reclaiming the tape: what nobody can reach any more is cut out, the rest is renumbered."""

from __future__ import annotations

import weakref
from bisect import bisect_left
from sys import getrefcount
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.engine import layout as L
from tapegrad.engine.kernel_table import library
from tapegrad.engine.walk import NEEDS_VALUE, mark, renumber
from tapegrad.ops import fast
from tapegrad.tape import CAPACITY
from tapegrad.tensor import Tensor

if TYPE_CHECKING:
    from tapegrad.tape import Tape

__all__ = ["maybe_reclaim", "reclaim"]

EVERY_ROWS = 256  # plus a multiple of what is live, so that the work is amortised
EVERY_BYTES = 64 << 20
NO_EDGES = np.zeros((0, 2), np.int64)
# What the count is for an object that only a list refers to, on this Python.
UNHELD = max(map(getrefcount, [object(), object()]))


def maybe_reclaim(tape: Tape) -> None:
    """Reclaim if the tape has grown enough since the last time.  Nothing may be pending."""
    if len(tape.tensors) < tape.reclaim_at and tape.stored_bytes < tape.reclaim_bytes:
        return
    if not tape.locked and not tape.runner.busy:
        fast.install(compiling=True)  # by now enough was recorded for it to pay
        tape.runner.busy = True  # what interrupts this must not run the tape
        try:
            reclaim(tape)
        finally:
            tape.runner.busy = False


def reclaim(tape: Tape) -> None:
    """Keep the instructions that a held tensor depends on, and what they need; drop the others."""
    n = tape.seal()
    live = np.zeros(n, np.uint8)
    holders = []
    for i in tape.survivors:
        held = tape.tensors[i]
        t = held() if type(held) is weakref.ref else held
        if type(t) is Tensor:
            live[i] = NEEDS_VALUE
            holders.append((i, t))
    t = held = None
    edges = _function_edges(tape, live)
    m = mark(n, tape.code, library.info, live, edges)
    code = np.zeros((m + max(CAPACITY, m), tape.code.shape[1]), np.int64)
    new = np.full(n, -1, np.int64)
    consts = np.empty(max(1, 3 * m))
    used = np.zeros(len(tape.signatures) + 1, np.uint8)
    n_consts = renumber(n, tape.code, library.info, live, new, code, tape.const_pool, consts, used)
    for i, t in holders:
        if not live[i]:
            t._tape = None  # only nodes held it that go now
    holders = [(i, t) for i, t in holders if live[i]]
    kept = np.flatnonzero(live).tolist()
    number = dict(zip(kept, range(m)))

    tape.tensors[:] = [tape.tensors[i] for i in kept]
    tape.places[:] = [tape.places[i] for i in kept]
    offsets = np.zeros(len(code) + 1, np.int64)
    offsets[:m] = tape.offsets[:n][live != 0]
    tape.offsets = offsets
    tape.survivors = [number[i] for i, _ in holders]
    for i, t in holders:
        if t._tape is tape and t._slot == i:
            t._slot = number[i]
    tape.code, tape.sealed, tape.evaluated = code, m, m
    tape.consts[:] = consts[:n_consts].tolist()
    tape.sealed_consts = n_consts
    if n_consts > len(tape.const_pool) or len(tape.const_pool) > 64 + 4 * n_consts:
        tape.const_pool = np.zeros(64 + 2 * n_consts)
    tape.const_pool[:n_consts] = consts[:n_consts]
    tape.keep = {number[i]: v for i, v in tape.keep.items() if live[i]}
    tape.mutations = {
        number[i]: (bisect_left(kept, since), number.get(by, -1), name)
        for i, (since, by, name) in tape.mutations.items()
        if live[i]
    }
    tape.unmarked = list(tape.mutations)  # where they began has been renumbered too
    tape.in_place_since = bisect_left(kept, tape.in_place_since)
    tape.leaves = {number[i]: r for i, r in tape.leaves.items() if live[i] and r() is not None}
    tape.bindings = {key: number[i] for key, i in tape.bindings.items() if live[i]}
    tape.hooked = {number[i] for i in tape.hooked if live[i]}
    _renumber_functions(tape, live, number)
    _reclaim_chunks(tape, m)
    _reclaim_signatures(tape, used, m)
    tape.generation += 1
    live_bytes = sum(c.nbytes for c in tape.chunks) + sum(
        v.nbytes for v in tape.keep.values() if v.base is None
    )
    tape.stored_bytes = 0
    tape.reclaim_at = EVERY_ROWS + 4 * m
    tape.reclaim_bytes = EVERY_BYTES + live_bytes
    tape.limit = m + tape.seal_every


def _function_edges(tape: Tape, live: np.ndarray) -> np.ndarray:
    """What results of users' functions depend on besides their operands, youngest first: (from, to) pairs.

    A tensor that only nodes hold is no reason for its slot to live: a chain of functions that nobody
    can reach any more goes all at once.
    """
    if not tape.functions:
        return NO_EDGES
    pairs = []
    below: dict[int, int] = {}  # a node's older results stay as long as its younger ones
    held: dict[int, int] = {}  # by slot, how many nodes hold its tensor
    for slot, node in sorted(tape.functions.items()):
        if id(node) in below:
            pairs.append((slot, below[id(node)]))
        else:
            pairs += [(slot, s) for s in node.edges() if 0 <= s < slot]
            for s in node.holds(tape, slot):
                held[s] = held.get(s, 0) + 1
        below[id(node)] = slot
    slots = list(held)
    counts = list(map(getrefcount, [tape.tensor_at(s) for s in slots]))
    for s, count in zip(slots, counts):
        if count == UNHELD + held[s] + 1:  # the list of holders
            live[s] = 0
    return np.array(sorted(pairs, reverse=True) or NO_EDGES, np.int64).reshape(-1, 2)


def _renumber_functions(tape: Tape, live: np.ndarray, number: dict[int, int]) -> None:
    if not tape.functions:
        return
    nodes = {id(node): node for node in tape.functions.values()}
    tape.functions = {number[i]: node for i, node in tape.functions.items() if live[i]}
    for node in nodes.values():
        node.renumber(number)


def _reclaim_chunks(tape: Tape, m: int) -> None:
    if not tape.chunks:
        return
    addresses = np.sort(tape.code[:m, L.ADDR])
    kept = []
    for chunk in tape.chunks:
        start = chunk.__array_interface__["data"][0]
        k = np.searchsorted(addresses, start)
        if k < m and addresses[k] < start + chunk.nbytes:
            kept.append(chunk)
    tape.chunks = kept


def _reclaim_signatures(tape: Tape, used: np.ndarray, m: int) -> None:
    count = int(used.sum())
    if len(tape.signatures) <= 256 + 4 * count:
        return
    old = tape.signatures
    tape.reset_signatures()
    number = {i: tape.bind_signature(old[i]) for i in np.flatnonzero(used).tolist()}
    for i in range(m):
        op = int(tape.code[i, L.OP]) & L.OP_MASK
        if library.info[op, L.KIND] > L.KIND_ELEMENTWISE:
            tape.code[i, L.SIG] = number[int(tape.code[i, L.SIG])]
