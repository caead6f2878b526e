"""Memory for values and cotangents: large ones get buffers of their own, small ones share chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.engine import layout as L
from tapegrad.engine.walk import place
from tapegrad.spec import table as spec_table

if TYPE_CHECKING:
    from tapegrad.engine.driver import Runner
    from tapegrad.tape import Tape

__all__ = ["Arena", "Memory", "address_of", "aligned"]

CHUNK = 256 << 10  # bytes
COTANGENT_BYTES = 4 << 20  # of small cotangents: what is kept from one run to the next


def address_of(a: np.ndarray) -> int:
    """The address of an array's first element."""
    return a.__array_interface__["data"][0]


def aligned(nbytes: int) -> tuple[np.ndarray, int]:
    """Fresh memory that starts on a cache line, and its address."""
    a = np.empty(nbytes + 64, np.uint8)
    return a, (address_of(a) + 63) & -64


class Arena:
    """Hands out pieces of chunks; a chunk lives as long as an array that looks into it.

    One allocation and one look-up of an address cost more than a small gradient; most runs need
    three of each.
    """

    __slots__ = ("chunk", "end", "next", "start")

    def __init__(self) -> None:
        self._renew(CHUNK)

    def _renew(self, nbytes: int) -> None:
        self.chunk, self.next = aligned(nbytes)
        self.start = address_of(self.chunk)
        self.end = self.next + nbytes

    def take(self, nbytes: int) -> tuple[np.ndarray, int, int]:
        """Return (chunk, its address, the address of ``nbytes`` fresh bytes in it)."""
        nbytes = (nbytes + 63) & -64
        if nbytes > CHUNK // 8:
            chunk, at = aligned(nbytes)
            return chunk, address_of(chunk), at
        if self.next + nbytes > self.end:
            self._renew(CHUNK)
        at = self.next
        self.next += nbytes
        return self.chunk, self.start, at


class Memory:
    """What one run allocates."""

    __slots__ = ("big", "big_grads", "grads", "grads_start", "held", "held_start", "nbytes", "saved")

    def __init__(self, tape: Tape, r: Runner, lo: int, n: int) -> None:
        totals = r.totals.tolist()
        arena = r.arena
        self.held, self.held_start, held_at = arena.take(totals[L.T_HELD])
        self.saved, _, saved_at = arena.take(totals[L.T_SAVED])
        self.grads, self.grads_start, grads_at = arena.take(totals[L.T_ADJ_HELD])
        if totals[L.T_ADJ_SAVED] > len(r.cotangents) - 64 or len(r.cotangents) > COTANGENT_BYTES:
            r.cotangents, r.cotangents_at = aligned(2 * totals[L.T_ADJ_SAVED])
        self.big: dict[int, np.ndarray] = {}
        self.big_grads: dict[int, np.ndarray] = {}
        self.nbytes = totals[L.T_HELD] + totals[L.T_SAVED]
        large = totals[L.T_BIG] + totals[L.T_ADJ_BIG]
        for slot in r.big[:large].tolist() if large else ():
            i = slot if slot >= 0 else -slot - 1
            spec = spec_table.by_id[int(tape.code[i, L.SPEC])]
            a = np.empty(spec.shape, spec.dtype)
            if slot >= 0:
                self.big[i] = a
                self.nbytes += a.nbytes
                r.slots[i, L.STORE] = address_of(a)
            else:
                self.big_grads[i] = a
                r.slots[i, L.ADJ] = address_of(a)
        place(r.frame, lo, n, held_at, saved_at, grads_at, r.cotangents_at)

    def value(self, r: Runner, slot: int, spec: Any) -> np.ndarray:
        """The array of a held slot."""
        value = self.big.get(slot)
        if value is None:
            offset = int(r.slots[slot, L.STORE]) - self.held_start
            value = np.ndarray(spec.shape, spec.dtype, self.held, offset)
        return value

    def gradient(self, r: Runner, slot: int, spec: Any) -> np.ndarray:
        """The array of a delivered gradient."""
        value = self.big_grads.get(slot)
        if value is None:
            offset = int(r.slots[slot, L.ADJ]) - self.grads_start
            value = np.ndarray(spec.shape, spec.dtype, self.grads, offset)
        return value
