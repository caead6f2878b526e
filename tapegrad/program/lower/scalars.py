"""From rows of a trace to operations on single numbers.

A *number* is an integer that stands for a float64 or a truth: the result of an operation, an element of the
program's memory, of an array outside of it, or a constant.  Movements only choose numbers, and what nobody
reads is dropped, so an array of a few elements costs what its elements cost.

Everything is computed as the interpreter's kernels do it, in the same order: no contraction to fused
multiply-adds, no reassociation, and a product with zero is a product (it may be with infinity).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.engine.kernel_table import library
from tapegrad.ops.table import ROWS, Kind
from tapegrad.ops.table import rows as table_rows
from tapegrad.program.lower.arrays import STRUCTURED
from tapegrad.program.lower.choose import ALIASES, positions
from tapegrad.program.lower.tier import breathe
from tapegrad.spec import BOOL, FLOAT64, Spec, intern_spec
from tapegrad.trace import OP, SIG, SPEC, X, Z

if TYPE_CHECKING:
    from tapegrad.program.emit import Emitter

__all__ = ["CALL", "STORE", "TEST", "Stretch", "literal"]

# Kinds of operations that are no instructions of LLVM's.
CALL, STORE, TEST = "call", "store", "test"
DOUBLE, TRUTH = "double", "i1"


def literal(value: float) -> str:
    """A float64 in LLVM's notation: its bits."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


@functools.lru_cache(4096)
def _spread(shape: tuple[int, ...], out: tuple[int, ...]) -> list[int]:
    """Which element of an array of ``shape`` each element of a broadcast result reads."""
    index = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return np.broadcast_to(index, out).reshape(-1).tolist()


class Stretch:
    """Rows that become machine code together, as operations on numbers.

    Attributes
    ----------
    kinds : list of str
        Per number, ``"double"`` or ``"i1"``.
    names : list of (str or None)
        Per number, its text where that is a constant.
    homes : list of ((int, int) or None)
        Per number, where it lies in memory before the stretch begins: (-1, byte offset) in the program's
        memory, (k, byte offset) in external k.
    operations : list of tuple
        ``(instruction, result, *operands)``; ``(CALL, results, kernel, operands)`` with lists of numbers;
        ``(STORE, number, byte offset)``; ``(TEST, number, expected, guard)``.

    Parameters
    ----------
    emitter : Emitter
    rows : sequence of int
        In the order in which they run.
    tests : dict
        Guards of the truth of a row: ``{row: [guard, ...]}``.
    """

    def __init__(self, emitter: Emitter, rows: Sequence[int], tests: dict[int, list[int]]) -> None:
        self.e, self.trace = emitter, emitter.trace
        self.kinds: list[str] = []
        self.names: list[str | None] = []
        self.homes: list[tuple[int, int] | None] = []
        self.operations: list[tuple] = []
        self._constants: dict[str, int] = {}
        self._values: dict[int, float] = {}  # of constants
        self._memory: dict[tuple[int, int], int] = {}
        self._of: dict[int, list[int]] = {}  # row -> its elements
        self._single: dict[int, int] = {}  # row or constant without axes -> its number
        self._expand(rows, tests)

    # --- numbers ----------------------------------------------------------------------------------

    def _number(self, kind: str, name: str | None = None, home: tuple[int, int] | None = None) -> int:
        self.kinds.append(kind)
        self.names.append(name)
        self.homes.append(home)
        return len(self.kinds) - 1

    def constant(self, value: float) -> int:
        """The number that is a float64 constant."""
        name = literal(value)
        found = self._constants.get(name)
        if found is None:
            found = self._constants[name] = self._number(DOUBLE, name)
            self._values[found] = value
        return found

    def _truth(self, value: bool) -> int:
        name = "1" if value else "0"
        found = self._constants.get(name)
        if found is None:
            found = self._constants[name] = self._number(TRUTH, name)
        return found

    def _do(self, instruction: str, x: int, *more: int, kind: str = DOUBLE) -> int:
        result = self._number(kind)
        self.operations.append((instruction, result, x, *more))
        return result

    def element(self, slot: int, k: int) -> int:
        """Element ``k`` of a slot."""
        known = self._of.get(slot)
        if known is not None:
            return known[k]
        if slot in self._single:
            return self._single[slot]
        e = self.e
        root = int(e.schedule.root[slot])
        assert root not in self._of and root not in self._single, (
            f"%{slot} is a view of %{root}, which has no place yet"
        )
        spec = self.trace.spec(slot)
        if root in self.trace.constants:
            first = int(e.schedule.offset[slot]) // spec.dtype.itemsize
            value = self.trace.constants[root].reshape(-1)[first + k]
            return self._truth(bool(value)) if spec.dtype == BOOL else self.constant(float(value))
        at = int(e.schedule.offset[slot]) + k * spec.dtype.itemsize
        number = e.external.get(root)
        if number is None:
            number = e.direct.get(root)
        home = (-1, int(e.place[root]) + at) if number is None else (number, at)
        found = self._memory.get(home)
        if found is None:
            assert number is not None or e.place[root] >= 0, f"%{slot} has no place"
            kind = TRUTH if spec.dtype == BOOL else DOUBLE
            found = self._memory[home] = self._number(kind, None, home)
        return found

    def _elements(self, o: int, like: Spec | None = None) -> list[int]:
        """All elements of an operand, repeated along the axes of ``like``."""
        if o < 0:
            return [self.constant(float(self.trace.consts[-o - 1]))] * (like.size if like is not None else 1)
        spec = self.trace.spec(o)
        if like is not None and spec.shape != like.shape:
            return [self.element(o, k) for k in _spread(spec.shape, like.shape)]
        return self._of.get(o) or [self.element(o, k) for k in range(spec.size)]

    # --- rows -------------------------------------------------------------------------------------

    def _expand(self, rows: Sequence[int], tests: dict[int, list[int]]) -> None:
        e, trace = self.e, self.trace
        batch, needs = e.schedule.batch[rows].tolist(), e.needs[rows].tolist()
        number_spec = intern_spec((), FLOAT64).id
        plain = {ROWS[name].op: rule for name, rule in _PLAIN.items()}
        single, names = self._single, self.names
        pending: list[tuple[int, list[list[int]]]] = []  # of the call under way: row, operands
        call = -1
        for m, (i, line) in enumerate(zip(rows, zip(*trace.code[rows].T.tolist()))):
            if m % 256 == 0:
                breathe()
            if pending and (batch[m] < 0 or batch[m] != call):
                self._call(pending, tests)
                pending = []
            rule = plain.get(line[OP])
            if rule is not None and line[SPEC] == number_spec:  # nearly all rows of a scalar program
                instruction, fold = rule
                x, y = line[X], line[X + 1]
                a, b = single.get(x), single.get(y)
                if a is None:
                    a = self._one(x)
                if b is None:
                    b = self._one(y)
                if names[a] is None and names[b] is None:
                    out = self._do(instruction, a, b)
                else:
                    out = fold(self, a, b)
                single[i] = out
                if needs[m]:
                    self.operations.append((STORE, out, int(e.place[i])))
                continue
            row, spec = table_rows[line[OP]], trace.spec(i)
            if row.kind is Kind.ELEMENTWISE:
                operands = [self._elements(o, spec) for o in line[X : X + row.arity]]
                found = self._elementwise(row.name, spec, operands)
                if found is None:
                    self._of[i] = [self._number(DOUBLE) for _ in range(spec.size)]
                    pending.append((i, operands))
                    call = batch[m]
                    continue
                self._of[i] = found
            else:
                self._of[i] = self._structured(i, row, line, spec)
            self._finish(i, spec, tests)
        if pending:
            self._call(pending, tests)

    def _one(self, o: int) -> int:
        """The number that an operand without axes is."""
        if o < 0:
            out = self.constant(float(self.trace.consts[-o - 1]))
        else:
            out = self.element(o, 0)
        self._single[o] = out
        return out

    def _finish(self, i: int, spec: Spec, tests: dict[int, list[int]]) -> None:
        """Store a row's elements if others read them, and make its guards."""
        if self.e.needs[i]:
            at = int(self.e.place[i])
            for k, number in enumerate(self._of[i]):
                self.operations.append((STORE, number, at + k * spec.dtype.itemsize))
        for k in tests.get(i, ()):
            expected = self.trace.guards[k].expected
            self.operations.append((TEST, self._of[i][0], int(expected), k))

    def _call(self, pending: list[tuple[int, list[list[int]]]], tests: dict[int, list[int]]) -> None:
        """One call of a kernel for all elements of some rows."""
        first = pending[0][0]
        kernel = int(library.kernels.reshape(-1)[self.e.kernel[first]])
        assert kernel, f"%{first}: its kernel is missing"
        results = [n for i, _ in pending for n in self._of[i]]
        operands = [[n for _, lists in pending for n in lists[k]] for k in range(len(pending[0][1]))]
        self.operations.append((CALL, results, kernel, operands))
        for i, _ in pending:
            self._finish(i, self.trace.spec(i), tests)

    # --- elementwise ------------------------------------------------------------------------------

    def _elementwise(self, name: str, spec: Spec, operands: list[list[int]]) -> list[int] | None:
        """A row's elements; ``None`` if its kernel is to be called."""
        if name in ALIASES and self.kinds[operands[0][0]] == (TRUTH if spec.dtype == BOOL else DOUBLE):
            return operands[ALIASES[name]]
        if self.kinds[operands[0][0]] == TRUTH and name != "where":
            rule = _TRUTHS[name]
        else:
            found = _NUMBERS.get(name)
            if found is None:
                return None
            rule = found
        return [rule(self, *each) for each in zip(*operands)]

    def add(self, x: int, y: int) -> int:
        """``x + y``; minus zero is what changes nothing when it is added."""
        for a, b in ((x, y), (y, x)):
            if self.names[b] == _MINUS_ZERO:
                return a
        return self._fold("fadd", x, y, _add)

    def subtract(self, x: int, y: int) -> int:
        if self.names[y] == _ZERO:
            return x
        return self._fold("fsub", x, y, _subtract)

    def multiply(self, x: int, y: int) -> int:
        for a, b in ((x, y), (y, x)):
            if self.names[b] == _ONE:
                return a
        return self._fold("fmul", x, y, _multiply)

    def divide(self, x: int, y: int) -> int:
        if self.names[y] == _ONE:
            return x
        return self._do("fdiv", x, y)

    def _fold(self, instruction: str, x: int, y: int, f: Callable[[float, float], float]) -> int:
        values = self._values
        if x in values and y in values:
            return self.constant(f(values[x], values[y]))
        return self._do(instruction, x, y)

    def compare(self, how: str, x: int, y: int) -> int:
        """A truth: ``how`` is LLVM's name of the comparison."""
        return self._do(f"fcmp {how}", x, y, kind=TRUTH)

    def choose(self, c: int, x: int, y: int) -> int:
        """``x if c else y``."""
        return self._do("select", c, x, y)

    def either(self, a: int, b: int) -> int:
        return self._do("or", a, b, kind=TRUTH)

    def fabs(self, x: int) -> int:
        return self._do("fabs", x)

    def sqrt(self, x: int) -> int:
        return self._do("sqrt", x)

    # --- rows of other kinds ----------------------------------------------------------------------

    def _structured(self, i: int, row: Any, line: Sequence[int], spec: Spec) -> list[int]:
        signature = self.trace.signatures[line[SIG]]
        raw = line[Z] if row.arity < 3 else 0
        if row.kind is Kind.MOVEMENT:
            x = line[X]
            return [self.element(x, k) for k in positions(signature.static, raw)]
        operands = [self._elements(o) for o in line[X : X + row.arity]]
        return STRUCTURED[row.name](self, operands, signature, raw, spec)


def _add(x: float, y: float) -> float:
    return x + y


def _subtract(x: float, y: float) -> float:
    return x - y


def _multiply(x: float, y: float) -> float:
    return x * y


_ZERO, _MINUS_ZERO, _ONE = literal(0.0), literal(-0.0), literal(1.0)


def _larger(s: Stretch, x: int, y: int, how: str = "oge") -> int:
    return s.choose(s.either(s.compare(how, x, y), s.compare("uno", x, x)), x, y)


def _larger_number(s: Stretch, x: int, y: int, how: str = "oge") -> int:
    return s.choose(s.either(s.compare(how, x, y), s.compare("uno", y, y)), x, y)


def _comparison(how: str) -> Callable[..., int]:
    return lambda s, x, y: s.compare(how, x, y)


# Rows of two numbers: the instruction, and what takes care of constants.
_PLAIN: dict[str, tuple[str, Callable[[Stretch, int, int], int]]] = {
    "add": ("fadd", Stretch.add),
    "subtract": ("fsub", Stretch.subtract),
    "multiply": ("fmul", Stretch.multiply),
    "divide": ("fdiv", Stretch.divide),
}

# One number per operand to one number: the formulas of ``kernels.scalar``.
_NUMBERS: dict[str, Callable[..., int]] = {
    "add": Stretch.add,
    "subtract": Stretch.subtract,
    "multiply": Stretch.multiply,
    "divide": Stretch.divide,
    "negative": lambda s, x: s._do("fneg", x),
    "square": lambda s, x: s.multiply(x, x),
    "sqrt": Stretch.sqrt,
    "rsqrt": lambda s, x: s.divide(s.constant(1.0), s.sqrt(x)),
    "reciprocal": lambda s, x: s.divide(s.constant(1.0), x),
    "abs": Stretch.fabs,
    "maximum": _larger,
    "minimum": functools.partial(_larger, how="ole"),
    "fmax": _larger_number,
    "fmin": functools.partial(_larger_number, how="ole"),
    "clip": lambda s, x, y, z: _larger(s, _larger(s, x, y), z, how="ole"),
    "relu": lambda s, x: s.choose(s.compare("ole", x, s.constant(0.0)), s.constant(0.0), x),
    "where": Stretch.choose,
    "unless_zero": lambda s, x, y: s.choose(s.compare("oeq", x, s.constant(0.0)), s.constant(0.0), y),
    "equal": _comparison("oeq"),
    "not_equal": _comparison("une"),
    "less": _comparison("olt"),
    "less_equal": _comparison("ole"),
    "greater": _comparison("ogt"),
    "greater_equal": _comparison("oge"),
    "isnan": lambda s, x: s.compare("uno", x, x),
    "isinf": lambda s, x: s.compare("oeq", s.fabs(x), s.constant(float("inf"))),
    "isfinite": lambda s, x: s.compare("olt", s.fabs(x), s.constant(float("inf"))),
    "astype_bool": lambda s, x: s.compare("une", x, s.constant(0.0)),
    "logical_and": lambda s, x, y: s._do("and", _true(s, x), _true(s, y), kind=TRUTH),
    "logical_or": lambda s, x, y: s.either(_true(s, x), _true(s, y)),
    "logical_xor": lambda s, x, y: s._do("xor", _true(s, x), _true(s, y), kind=TRUTH),
    "logical_not": lambda s, x: s.compare("oeq", x, s.constant(0.0)),
}


def _true(s: Stretch, x: int) -> int:
    return s.compare("une", x, s.constant(0.0))


def _logic(instruction: str) -> Callable[..., int]:
    return lambda s, x, y: s._do(instruction, x, y, kind=TRUTH)


_NOT: Callable[..., int] = lambda s, x: s._do("xor", x, s._truth(True), kind=TRUTH)  # noqa: E731
_TRUTHS: dict[str, Callable[..., int]] = {
    "logical_and": _logic("and"),
    "logical_or": _logic("or"),
    "logical_xor": _logic("xor"),
    "logical_not": _NOT,
    "bitwise_and": _logic("and"),
    "bitwise_or": _logic("or"),
    "bitwise_xor": _logic("xor"),
    "bitwise_invert": _NOT,
    "astype_float64": lambda s, x: s._do("uitofp", x),
}
