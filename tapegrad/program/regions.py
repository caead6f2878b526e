"""One elementwise region of a program: registers and steps for ``vm.run_tiles``.

A register either walks along an array in memory or stays on a tile-sized buffer; buffers are used again once
their value has been read for the last time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.engine import threads
from tapegrad.engine.blocks import block_count
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY, SIZE
from tapegrad.engine.tiles import CACHE, N_DTYPES, TILE, WHICH
from tapegrad.program import vm
from tapegrad.program.schedule import C_SINK
from tapegrad.spec import DTYPES, dtype_index
from tapegrad.spec import table as spec_table
from tapegrad.trace import OP, X

if TYPE_CHECKING:
    from tapegrad.program.emit import Emitter

__all__ = ["Region"]

BUFFER_STEP = 8 * TILE + 64


class Region:
    """One region's record for ``vm.run_tiles``: registers and steps."""

    def __init__(self, emitter: Emitter, spec: int, rows: np.ndarray) -> None:
        self.e, self.spec, self.rows = emitter, spec, rows.tolist()
        self.length = int(spec_table.rows[spec, SIZE])
        self.registers: list[tuple[int, int]] = []
        self.splats: list[list[int]] = []
        self.steps: list[list[int]] = []
        self.of: dict[Any, int] = {}
        self.sums = 0
        self.free: list[int] = []
        self.temporary: set[int] = set()  # registers that come back
        self.buffers = 0
        # a buffer holds a tile of the largest elements there are
        self.buffer_step = BUFFER_STEP + (8 * TILE if self._has_wide() else 0)

    def build(self) -> list[int]:
        """Words of the record."""
        code, info = self.e.trace.code, library.info
        last: dict[Any, int] = {}
        for m, i in enumerate(self.rows):
            for k in range(int(info[code[i, OP], ARITY])):
                last[int(code[i, X + k])] = m
        self._new((self.e.pointer(0, 0), 0))  # register 0: operands that a kernel does not have
        for m, i in enumerate(self.rows):
            arity = int(info[code[i, OP], ARITY])
            operands = [int(code[i, X + k]) for k in range(arity)]
            registers = [self._operand(i, o) for o in operands] + [0] * (3 - arity)
            if self.e.schedule.cls[i] == C_SINK:
                dtype = dtype_index[self.e.trace.spec(i).dtype]
                self.steps.append([vm.SUM, 0, registers[0], self.sums, self.e.of(i), dtype, 0, 0])
                self.sums += 1
            else:
                spec = self.e.trace.spec(i)
                if self.e.needs[i]:
                    out = self._walking(self.e.of(i), spec.dtype.itemsize)
                    self.of[i] = out
                else:
                    out = self.of[i] = self._buffer()
                self.steps.append([self._kernel(i), out, *registers, 0, 0, 0])
            for o in set(operands):
                if last[o] == m and o in self.of and self.of[o] in self.temporary:
                    self.free.append(self.of[o])
        tile = self._tile()
        self.e.buffer_bytes = max(self.e.buffer_bytes, self.buffers * self.buffer_step + 64)
        words = [self.length, tile, len(self.registers), len(self.splats) + len(self.steps), len(self.splats)]
        tiles = -(-self.length // tile)
        per_block = int(block_count(threads.shared_at, self.length, tiles, len(self.steps), 2 * self.sums))
        self.e.large |= per_block > 0
        words += [self.sums, self.spec, per_block]
        for where, step in self.registers:
            words += [where, step * tile]
        for step_words in (*self.splats, *self.steps):
            words += step_words
        self.e.scratch_words = max(self.e.scratch_words, len(self.registers) + 2 * self.sums + 8)
        return words

    def _has_wide(self) -> bool:
        """Whether a value of the region is larger than eight bytes: complex128."""
        code, trace = self.e.trace.code, self.e.trace
        return any(
            o >= 0 and trace.spec(o).dtype.itemsize > 8
            for i in self.rows
            for o in (i, *[int(code[i, X + k]) for k in range(int(library.info[code[i, OP], ARITY]))])
        )

    def _tile(self) -> int:
        live = sum(1 for where, step in self.registers if step) + self.buffers
        tile = min(TILE, CACHE // (8 * live + 8) & -16)
        return min(max(tile, 32), max(self.length, 1))

    def _kernel(self, i: int) -> int:
        return int(library.kernels.reshape(-1)[self.e.kernel[i]])

    def _new(self, register: tuple[int, int]) -> int:
        self.registers.append(register)
        return len(self.registers) - 1

    def _walking(self, pointer: int, itemsize: int) -> int:
        return self._new((pointer, itemsize))

    def _buffer(self, release: bool = True) -> int:
        if release and self.free:
            return self.free.pop()
        offset = self.buffers * self.buffer_step
        self.buffers += 1
        r = self._new((-1 - offset, 0))
        if release:
            self.temporary.add(r)
        return r

    def _operand(self, i: int, o: int) -> int:
        """The register of an operand; sets up what comes from outside of the region."""
        e = self.e
        if o < 0:
            dtype = self._dtype(i)
            key = ("constant", o, dtype)
            if key not in self.of:
                offset = e.constant(float(e.trace.consts[-o - 1]), dtype)
                self.of[key] = self._splat(e.pointer(0, offset), dtype.itemsize)
            return self.of[key]
        if o in self.of:
            return self.of[o]
        spec = e.trace.spec(o)
        if spec.size == self.length:
            self.of[o] = self._walking(e.of(o), spec.dtype.itemsize)
        elif spec.size == 1:
            self.of[o] = self._splat(e.of(o), spec.dtype.itemsize)
        else:
            r = self._buffer()
            self.steps.append([vm.LOAD, r, e.of(o), 0, 0, spec.dtype.itemsize, spec.id, 0])
            self.of[o] = r
        return self.of[o]

    def _splat(self, pointer: int, itemsize: int) -> int:
        r = self._buffer(release=False)
        self.splats.append([vm.SPLAT, r, pointer, 0, 0, itemsize, 0, 0])
        return r

    def _dtype(self, i: int) -> np.dtype:
        """What row ``i``'s kernel computes in."""
        return DTYPES[int(self.e.kernel[i]) // WHICH % N_DTYPES]
