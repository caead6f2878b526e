"""From operations on numbers to functions in LLVM's language.

A stretch is cut into functions of a few hundred operations, because compiling a basic block takes longer than
in proportion to its length.  Inside a function numbers are LLVM's values; what a later function reads is
stored in the program's memory.

A function takes (memory, memory as bytes, table of externals, first failed guard so far) and returns the
first failed guard: guards are compared without branching, so that a function is one basic block.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm

from tapegrad.program.lower.scalars import CALL, STORE, TEST, Stretch
from tapegrad.program.lower.tier import breathe

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHUNK", "functions"]

CHUNK = 300  # operations of one function (decision 0011)
CALLED = 8  # how many operations a call counts as
NEVER = -1


@functools.cache
def _opaque() -> bool:
    """Whether pointers have no element type (LLVM 15 and later can, 17 and later must)."""
    return llvm.llvm_version_info[0] >= 15


@functools.cache
def _pointers() -> dict[str, str]:
    """Text of the pointer types."""
    kinds = {"double": "double", "i8": "i8", "i64": "i64"}
    return {k: "ptr" if _opaque() else f"{v}*" for k, v in kinds.items()}


@functools.cache
def prelude() -> str:
    """What every module declares."""
    return "declare double @llvm.fabs.f64(double)\ndeclare double @llvm.sqrt.f64(double)\n"


class _Lifetimes:
    """Where numbers are made and read last, and where those that outlive their function lie."""

    def __init__(self, stretch: Stretch, reserve: Callable[[int], int]) -> None:
        operations = stretch.operations
        n = len(stretch.kinds)
        self.needed = _needed(operations, n)
        self.chunks: list[list[tuple]] = [[]]
        self.made, self.last = [NEVER] * n, [NEVER] * n
        calls: list[tuple[int, list[int]]] = []  # where, and what they compute
        count = room = 0
        for k, op in enumerate(operations):
            if not self.needed[k]:
                continue
            if count >= CHUNK:
                self.chunks.append([])
                count = 0
            here = len(self.chunks) - 1
            self.chunks[-1].append(op)
            if op[0] is CALL:
                count += CALLED * len(op[1])
                room = max(room, _padded(len(op[1])))
                calls.append((here, op[1]))
                for operand in op[3]:
                    for x in operand:
                        self.last[x] = here
            elif op[0] is STORE or op[0] is TEST:
                count += 1
                self.last[op[1]] = here
            else:
                count += 1
                self.made[op[1]] = here
                for x in op[2:]:
                    self.last[x] = here
        self.operands = reserve(3 * 8 * room) if room else 0  # of a call
        self.room = room
        self.homes = list(stretch.homes)
        self._place(reserve)
        self._place_results(calls, reserve)

    def _place(self, reserve: Callable[[int], int]) -> None:
        """Memory for what a later function reads; used again once nobody does."""
        made, last = self.made, self.last
        arriving: list[list[int]] = [[] for _ in self.chunks]
        leaving: list[list[int]] = [[] for _ in self.chunks]
        for x, (first, end) in enumerate(zip(made, last)):
            if first != NEVER and end > first:
                arriving[first].append(x)
                leaving[end].append(x)
        free: list[int] = []
        for k, numbers in enumerate(arriving):
            for x in numbers:
                self.homes[x] = (-1, free.pop() if free else reserve(8))
            free += [home[1] for x in leaving[k] if (home := self.homes[x]) is not None]

    def _place_results(self, calls: list[tuple[int, list[int]]], reserve: Callable[[int], int]) -> None:
        """Memory for what calls compute: read where the kernel has written it."""
        free: dict[int, list[int]] = {}  # by size
        leaving: list[list[tuple[int, int]]] = [[] for _ in self.chunks]
        done = 0
        for here, results in calls:
            while done < here:
                for size, offset in leaving[done]:
                    free.setdefault(size, []).append(offset)
                done += 1
            size = 8 * _padded(len(results))
            places = free.get(size)
            offset = places.pop() if places else reserve(size)
            for m, x in enumerate(results):
                self.homes[x] = (-1, offset + 8 * m)
            leaving[max(here, *(self.last[x] for x in results))].append((size, offset))


def _padded(n: int) -> int:
    """How many elements a call computes: what is left over after vectors costs more than another vector."""
    return n if n < 3 else (n + 7) & -8


def _needed(operations: list[tuple], n: int) -> list[bool]:
    """Which operations lead to something that is stored or tested."""
    read = [False] * n
    needed = [False] * len(operations)
    for k in range(len(operations) - 1, -1, -1):
        op = operations[k]
        if op[0] is CALL:
            if any(read[x] for x in op[1]):
                needed[k] = True
                for operand in op[3]:
                    for x in operand:
                        read[x] = True
        elif op[0] is STORE or op[0] is TEST:
            needed[k] = read[op[1]] = True
        elif read[op[1]]:
            needed[k] = True
            for x in op[2:]:
                read[x] = True
    return needed


def functions(
    stretch: Stretch, prefix: str, reserve: Callable[[int], int]
) -> list[tuple[str, str, list[int]]]:
    """The functions of a stretch.

    Parameters
    ----------
    stretch : Stretch
    prefix : str
        What their names begin with.
    reserve : callable
        Gives the offset of so many bytes of the program's memory.

    Returns
    -------
    list of (name, text, tests)
        ``tests`` are the guards that the function compares.
    """
    lifetimes = _Lifetimes(stretch, reserve)
    out = []
    for k in range(len(lifetimes.chunks)):
        breathe()
        name = f"{prefix}_{k}"
        writer = _Writer(stretch, lifetimes, k)
        text = writer.function(name)
        if writer.effects:
            out.append((name, text, writer.tests))
    return out


class _Writer:
    """Text of one function."""

    def __init__(self, stretch: Stretch, lifetimes: _Lifetimes, k: int) -> None:
        self.s, self.l, self.k = stretch, lifetimes, k
        self.p = _pointers()
        self.lines: list[str] = []
        self.named: dict[int, str] = {}
        self.external: dict[int, str] = {}
        self.filled: dict[int, list[int]] = {}  # what lies in the buffers of operands
        self.count = self.effects = 0
        self.tests: list[int] = []
        self.failed = "%f"

    def function(self, name: str) -> str:
        for op in self.l.chunks[self.k]:
            self._operation(op)
        p = self.p
        head = f"define i64 @{name}({p['double']} %m, {p['i8']} %b, {p['i64']} %e, i64 %f) nounwind {{\n"
        return head + "\n".join([*self.lines, f"ret i64 {self.failed}", "}\n"])

    # --- numbers ----------------------------------------------------------------------------------

    def _fresh(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def _name(self, x: int) -> str:
        """The text of a number; loads it when it is read first."""
        name = self.named.get(x)
        if name is None:
            constant = self.s.names[x]
            name = self.named[x] = constant if constant is not None else self._load(x)
        return name

    def _load(self, x: int) -> str:
        home = self.l.homes[x]
        assert home is not None
        name = f"%v{x}"
        number, offset = home
        if self.s.kinds[x] == "double":
            at = self._double_at(offset) if number < 0 else self._external_at(number, offset, "double")
            align = 8 if number < 0 else 1
            self.lines.append(f"{name} = load double, {self.p['double']} {at}, align {align}")
        else:
            at = self._byte_at(offset) if number < 0 else self._external_at(number, offset, "i8")
            byte = self._fresh()
            self.lines.append(f"{byte} = load i8, {self.p['i8']} {at}")
            self.lines.append(f"{name} = icmp ne i8 {byte}, 0")
        return name

    def _double_at(self, offset: int) -> str:
        assert offset % 8 == 0
        at = self._fresh()
        self.lines.append(f"{at} = getelementptr double, {self.p['double']} %m, i64 {offset // 8}")
        return at

    def _byte_at(self, offset: int) -> str:
        at = self._fresh()
        self.lines.append(f"{at} = getelementptr i8, {self.p['i8']} %b, i64 {offset}")
        return at

    def _external_at(self, number: int, offset: int, kind: str) -> str:
        base = self.external.get(number)
        if base is None:
            at, base = self._fresh(), self._fresh()
            self.external[number] = base
            self.lines.append(f"{at} = getelementptr i64, {self.p['i64']} %e, i64 {number}")
            self.lines.append(f"{base} = load i64, {self.p['i64']} {at}")
        moved, out = self._fresh(), self._fresh()
        self.lines.append(f"{moved} = add i64 {base}, {offset}")
        self.lines.append(f"{out} = inttoptr i64 {moved} to {self.p[kind]}")
        return out

    def _store(self, x: int, offset: int) -> None:
        name = self._name(x)
        self.effects += 1
        if self.s.kinds[x] == "double":
            at = self._double_at(offset)
            self.lines.append(f"store double {name}, {self.p['double']} {at}, align 8")
            return
        at, byte = self._byte_at(offset), self._fresh()
        self.lines.append(f"{byte} = zext i1 {name} to i8")
        self.lines.append(f"store i8 {byte}, {self.p['i8']} {at}")

    def _made(self, x: int) -> None:
        """Keep a result that a later function reads."""
        if self.l.last[x] > self.k:
            home = self.l.homes[x]
            assert home is not None
            self._store(x, home[1])

    # --- operations -------------------------------------------------------------------------------

    def _operation(self, op: tuple) -> None:
        kind = op[0]
        if kind is STORE:
            self._store(op[1], op[2])
        elif kind is TEST:
            self._test(*op[1:])
        elif kind is CALL:
            self._call(*op[1:])
        else:
            out = f"%v{op[1]}"
            self.lines.append(f"{out} = {self._instruction(kind, op[2:])}")
            self.named[op[1]] = out
            self._made(op[1])

    def _instruction(self, kind: str, operands: Any) -> str:
        names = [self._name(x) for x in operands]
        if len(names) == 2:
            return f"{kind} {self.s.kinds[operands[0]]} {names[0]}, {names[1]}"
        if kind == "select":
            return f"select i1 {names[0]}, double {names[1]}, double {names[2]}"
        if kind == "fneg":
            return f"fneg double {names[0]}"
        if kind == "uitofp":
            return f"uitofp i1 {names[0]} to double"
        return f"call double @llvm.{kind}.f64(double {names[0]})"

    def _test(self, x: int, expected: int, guard: int) -> None:
        less, earlier = self._fresh(), self._fresh()
        wrong, out = self._fresh(), self._fresh()
        self.tests.append(guard)
        self.effects += 1
        self.lines.append(f"{wrong} = icmp ne i1 {self._name(x)}, {expected}")
        self.lines.append(f"{less} = icmp slt i64 {guard}, {self.failed}")
        self.lines.append(f"{earlier} = and i1 {wrong}, {less}")
        self.lines.append(f"{out} = select i1 {earlier}, i64 {guard}, i64 {self.failed}")
        self.failed = out

    def _call(self, results: list[int], kernel: int, operands: list[list[int]]) -> None:
        """Operands go to buffers in memory, one after the other; a kernel reads and writes arrays."""
        n = _padded(len(results))
        home = self.l.homes[results[0]]
        assert home is not None
        offsets = [home[1], *(self.l.operands + 8 * k * self.l.room for k in range(3))]
        for k, numbers in enumerate(operands):
            if self.filled.get(k) != numbers:  # sine and cosine of the same
                for m, x in enumerate([*numbers, *numbers[-1:] * (n - len(numbers))]):
                    self._store(x, offsets[k + 1] + 8 * m)
                self.filled[k] = numbers
        self.effects += 1
        base = self._fresh()
        self.lines.append(f"{base} = ptrtoint {self.p['i8']} %b to i64")
        places = []
        for offset in offsets:
            at = self._fresh()
            self.lines.append(f"{at} = add i64 {base}, {offset}")
            places.append(f"i64 {at}")
        target = f"inttoptr (i64 {kernel} to i64 (i64, i64, i64, i64, i64)*)"
        if _opaque():
            target = f"inttoptr (i64 {kernel} to ptr)"
        arguments = ", ".join([f"i64 {n}", *places])
        self.lines.append(f"{self._fresh()} = call i64 {target}({arguments})")
