"""Reading saved tapes: nothing in the file is trusted.

Opcodes are looked up by name, shape rules are run again (`tapegrad.saved.verify`), and every path is checked
completely (`Trace.check`) before a program is made of it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from tapegrad.compiled.captures import typed
from tapegrad.compiled.paths import Entry, Path
from tapegrad.ops.record import Signature
from tapegrad.ops.table import ROWS, Kind, Row
from tapegrad.ops.table import rows as table_rows
from tapegrad.saved.container import unpack
from tapegrad.saved.encoding import SavedLine, decode_structure, decode_value
from tapegrad.saved.saving import CUSTOM, FORMAT, VERSION
from tapegrad.saved.verify import LARGEST, peak_bytes, require, signature_of
from tapegrad.spec import DTYPES, MAX_DIMS, Spec, intern_spec
from tapegrad.tape import TapeError
from tapegrad.trace import COLUMNS, OP, SPEC, TRUTH, VALUE, Guard, Places, Trace, X

__all__ = ["MAX_BYTES", "read"]

MAX_BYTES = 1 << 32
MOST_ROWS = 1 << 24
NAMES = ("custom", "entries", "format", "lines", "name", "operations", "signatures", "specs", "tapegrad")
KEYS = frozenset((*NAMES, "static_argnames", "static_argnums", "takes_out", "version"))


def _whole(value: Any, low: int, high: int, what: str) -> int:
    require(
        type(value) is int and low <= value < high,
        f"{what} is {str(value)[:40]}, not from {low} to {high - 1}",
    )
    return int(value)


def _listed(value: Any, what: str) -> list[Any]:
    require(type(value) is list, f"{what} is no list")
    return value  # type: ignore[no-any-return]


def _texts(value: Any, what: str) -> list[str]:
    require(all(type(v) is str for v in _listed(value, what)), f"{what} is no list of strings")
    return value  # type: ignore[no-any-return]


def _keys(value: Any, keys: frozenset[str], what: str) -> dict[str, Any]:
    require(
        type(value) is dict and set(value) == keys, f"{what} does not have the keys {', '.join(sorted(keys))}"
    )
    return value  # type: ignore[no-any-return]


ENTRY = frozenset(("arguments", "parts", "grad_enabled", "paths"))
PATH = frozenset(
    ("rows", "numbers", "lines", "inputs", "outputs", "constants", "guards", "result", "results", "fixed")
)


def read(data: bytes, max_bytes: int) -> tuple[dict[str, Any], OrderedDict[Any, Entry]]:
    """Header and verified paths, by signature, of a file's bytes.

    Raises
    ------
    TapeError
        If they are not what `dumps` makes, or not well formed.
    """
    try:
        header, arrays = unpack(data)
        reader = _Reader(header, arrays, max_bytes)
        return header, reader.entries()
    except RecursionError:
        raise TapeError("it is nested too deeply") from None


class _Reader:
    """Header and arrays as traces; whatever is not as it must be raises `TapeError`."""

    def __init__(self, header: dict[str, Any], arrays: list[np.ndarray], max_bytes: int) -> None:
        require(header.get("format") == FORMAT, "it is no saved tape")
        version = _whole(header.get("version"), 1, 1 << 31, "the version")
        require(version == VERSION, f"it has version {version} of the format; this tapegrad reads {VERSION}")
        _keys(header, KEYS, "the header")
        self.header, self.arrays, self.max_bytes = header, arrays, max_bytes
        require(type(header["name"]) is str and type(header["tapegrad"]) is str, "the name is no string")
        require(type(header["takes_out"]) is bool, "takes_out is neither true nor false")
        self.lines = [_line(text) for text in _texts(header["lines"], "lines")]
        self.specs = [self._spec(code) for code in _listed(header["specs"], "specs")]
        self.operations = self._operations()
        self.signatures = [self._signature(code) for code in _listed(header["signatures"], "signatures")]

    def _spec(self, code: Any) -> Spec:
        require(type(code) is list and len(code) == 2, "a spec is no pair")
        names = {d.name: d for d in DTYPES}
        require(type(code[0]) is str and code[0] in names, f"{str(code[0])[:40]!r} is no dtype")
        shape = tuple([_whole(n, 0, LARGEST, "a length") for n in _listed(code[1], "a shape")])
        size = 1
        for n in shape:
            size *= max(n, 1)
        require(
            len(shape) <= MAX_DIMS and size * 8 <= self.max_bytes,
            self._too_large(f"an array of shape {shape}"),
        )
        return intern_spec(shape, names[code[0]])

    def _too_large(self, what: str) -> str:
        return f"{what} takes more than {self.max_bytes} bytes; pass a larger max_bytes if you trust the file"

    def _operations(self) -> list[Row]:
        names = _texts(self.header["operations"], "operations")
        digests = self.header["custom"]
        require(type(digests) is dict, "custom is no object")
        found = []
        for name in names:
            row = ROWS.get(name)
            if name.startswith("custom:"):
                row = _custom_row(name, digests)
            require(row is not None, f"this tapegrad has no operation {name[:80]!r}")
            assert row is not None
            found.append(row)
        return found

    def _signature(self, code: Any) -> Signature:
        require(type(code) is list and len(code) == 4, "a signature is no list of four")
        row = self.operations[_whole(code[0], 0, len(self.operations), "an operation")]
        specs = tuple([self.spec(k) for k in _listed(code[1], "operands")])
        require(type(code[3]) is dict, "static arguments are no object")
        signature = signature_of(row, specs, {k: decode_value(v) for k, v in code[3].items()})
        expected = self.spec(code[2])
        require(signature.out is expected, f"{row.name} gives {signature.out!r}, not {expected!r}")
        return signature

    def spec(self, k: Any) -> Spec:
        return self.specs[_whole(k, 0, len(self.specs), "a spec")]

    def array(self, k: Any, dtype: str | None = None, ndim: int = 1) -> np.ndarray:
        a = self.arrays[_whole(k, 0, len(self.arrays), "an array")]
        if dtype is not None:
            require(a.dtype == dtype and a.ndim == ndim, f"array {k} is not {dtype} with {ndim} axes")
        return a

    def place(self, k: Any) -> Any:
        k = _whole(k, -1, len(self.lines), "a line")
        return None if k < 0 else (self.lines[k], 0)

    # --- entries ----------------------------------------------------------------------------------

    def entries(self) -> OrderedDict[Any, Entry]:
        """The recorded paths of every signature."""
        found: OrderedDict[Any, Entry] = OrderedDict()
        for code in _listed(self.header["entries"], "entries"):
            _keys(code, ENTRY, "an entry")
            require(type(code["grad_enabled"]) is bool, "grad_enabled is neither true nor false")
            structure = decode_structure(code["arguments"])
            parts = [self._part(p) for p in _listed(code["parts"], "parts")]
            require(structure.count == len(parts) and _is_call(structure), "arguments are not as parts say")
            key = (structure, tuple(parts), code["grad_enabled"])
            require(key not in found, "a signature stands twice")
            given = [p for p in parts if isinstance(p, Spec)]
            paths = [self._path(p, given) for p in _listed(code["paths"], "paths")]
            require(len(paths) > 0, "a signature without paths")
            _check_tree([p.trace.guards for p in paths])
            found[key] = entry = Entry()
            for path in paths:
                entry.insert(path)
        require(len(found) > 0, "nothing is recorded in it")
        return found

    def _part(self, code: Any) -> Any:
        require(type(code) is dict and len(code) == 1, "a part of a signature is no object of one key")
        ((kind, content),) = code.items()
        require(kind in ("spec", "static"), f"{kind[:40]!r} is no part of a signature")
        return self.spec(content) if kind == "spec" else typed(decode_value(content))

    def _path(self, code: Any, given: list[Spec]) -> Path:
        from tapegrad.program.program import build

        _keys(code, PATH, "a path")
        trace = self._trace(code)
        require(len(trace.inputs) == len(given), "the number of inputs is not that of the arguments")
        for slot, spec in zip(trace.inputs, given):
            require(slot < 0 or trace.spec(slot) is spec, f"input %{slot} is not {spec!r}")
        structure = decode_structure(code["result"])
        results = [_whole(r, -1, len(trace.outputs), "a result") for r in _listed(code["results"], "results")]
        fixed = [decode_value(v) for v in _listed(code["fixed"], "fixed")]
        require(
            structure.count == len(results) == len(fixed), "the result's structure does not fit its values"
        )
        known = sorted(r for r in results if r >= 0) == list(range(len(trace.outputs)))
        require(known, "results and outputs do not correspond")
        try:
            program = build(trace)
        except Exception as error:  # nothing verified should fail here; if it does, it must not be run
            raise TapeError(f"no program can be made of it: {type(error).__name__}: {error}") from error
        return Path(trace, program, structure, results, fixed)

    def _trace(self, code: dict[str, Any]) -> Trace:
        rows = self.array(code["rows"], "int64", 2)
        n = len(rows)
        require(rows.shape[1] == COLUMNS and n <= MOST_ROWS, f"rows of shape {rows.shape}")
        rows = self._renumber(rows.copy())
        lines = self.array(code["lines"], "int64")
        require(len(lines) == n, "there is not one line per row")
        slots = [_slot(i, n) for i in _listed(code["inputs"], "inputs")]
        constants: dict[int, np.ndarray] = {}
        for pair in _listed(code["constants"], "constants"):
            require(type(pair) is list and len(pair) == 2, "a constant is no pair")
            slot = _whole(pair[0], 0, n, "a constant's slot")
            require(slot not in constants, f"%{slot} has two values")
            constants[slot] = self.array(pair[1])
        trace = Trace(
            code=rows,
            consts=self.array(code["numbers"], "float64"),
            signatures=self.signatures,
            inputs=slots,
            outputs=[_whole(i, 0, n, "an output") for i in _listed(code["outputs"], "outputs")],
            constants=constants,
            guards=[self._guard(g, n) for g in _listed(code["guards"], "guards")],
            places=Places.of([place and place[0] for place in map(self.place, lines.tolist())], [0] * n),
        )
        trace.check()
        require(peak_bytes(trace) <= self.max_bytes, self._too_large("one of its paths"))
        return trace

    def _renumber(self, rows: np.ndarray) -> np.ndarray:
        """Give operations and shapes this process's numbers, in place; unused columns must be zeros."""
        ops = np.array([r.op for r in self.operations], np.int64)
        specs = np.array([s.id for s in self.specs], np.int64)
        for column, numbers in ((OP, ops), (SPEC, specs)):
            values = rows[:, column]
            known = len(values) == 0 or (values.min() >= 0 and values.max() < len(numbers))
            require(bool(known), f"column {column} of the rows is out of range")
            if len(values):
                rows[:, column] = numbers[values]
        for op in np.unique(rows[:, OP]).tolist():
            row, mine = table_rows[op], rows[:, OP] == op
            unused = X + row.arity if row.kind in (Kind.INPUT, Kind.ELEMENTWISE) else COLUMNS
            require(not rows[mine, unused:].any(), f"{row.name}: more columns than operands")
        return rows

    def _guard(self, code: Any, n: int) -> Guard:
        require(type(code) is list and len(code) == 4, "a guard is no list of four")
        slot, kind = _whole(code[0], 0, n, "a guarded slot"), _whole(code[1], 0, 3, "a guard's kind")
        expected: int | bytes
        if kind == VALUE:
            expected = self.array(code[2], "uint8").tobytes()
        elif kind == TRUTH:
            expected = _whole(code[2], 0, 2, "a truth")
        else:
            expected = _whole(code[2], -(1 << 63), 1 << 63, "an integer")
        return Guard(slot, kind, expected, self.place(code[3]))


def _slot(value: Any, n: int) -> int:
    return _whole(value, -1, n, "an input")


def _line(text: str) -> SavedLine:
    file, _, number = text.rpartition(":")
    ok = number.isascii() and number.isdigit() and len(number) < 10
    return SavedLine(file, int(number)) if ok else SavedLine(text, 0)


def _is_call(structure: Any) -> bool:
    """Whether a structure is that of positional and keyword arguments."""
    if structure.container is not tuple or len(structure.children) != 2:
        return False
    args, kwargs = structure.children
    return args.container is tuple and kwargs.container is dict and all(type(k) is str for k in kwargs.keys)


def _check_tree(paths: list[list[Guard]]) -> None:
    """Where two paths part, Python looked at one value and saw two different things."""
    slots: dict[int, int] = {}
    edges: dict[tuple[int, int, Any], int] = {}
    for guards in paths:
        node = 0
        for g in guards:
            require(
                slots.setdefault(node, g.slot) == g.slot, "two paths look at different values in one place"
            )
            node = edges.setdefault((node, g.kind, g.expected), len(edges) + 1)
        require(node not in slots, "two paths have the same outcomes")
        slots[node] = -1


def _custom_row(name: str, digests: dict[str, Any]) -> Row:
    """A custom operation, which must be the one that was saved."""
    from tapegrad.custom.elementwise import OPS, find_row

    found = CUSTOM.match(name)
    base = found[0] if found else name
    try:
        row = find_row(name)
    except LookupError:
        raise TapeError(f"it uses the custom operation {name[:80]!r}; define it before loading") from None
    same = base in OPS and digests.get(base) == OPS[base].digest
    require(same, f"the custom operation {base!r} has other code here than when it was saved")
    return row
