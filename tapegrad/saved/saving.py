"""Saving compiled functions: the recorded paths as arrays and JSON, without Python code and without pickle.

``dumps`` writes what `docs/saved-tapes.md` describes; `tapegrad.saved.reading` reads it.
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from tapegrad.compiled.function import Compiled
from tapegrad.compiled.paths import Entry, Path
from tapegrad.ops.record import Signature
from tapegrad.ops.table import ROWS, Kind, Row
from tapegrad.ops.table import rows as table_rows
from tapegrad.saved.container import pack
from tapegrad.saved.encoding import encode_structure, encode_value
from tapegrad.spec import Spec
from tapegrad.spec import table as spec_table
from tapegrad.trace import COLUMNS, OP, SIG, SPEC, VALUE, Trace, X, where

__all__ = ["dumps", "save", "untyped"]

FORMAT, VERSION = "tapegrad tape", 1
CUSTOM = re.compile(r"custom:[^\[\]']+")


# --- writing --------------------------------------------------------------------------------------


class _Writer:
    """Collects what the paths of a function share: operations, shapes, signatures, lines, arrays."""

    def __init__(self) -> None:
        self.operations: dict[str, int] = {}
        self.custom: dict[str, str] = {}
        self.specs: dict[Spec, int] = {}
        self.signatures: dict[tuple, int] = {}
        self.described: list[Any] = []
        self.lines: dict[str, int] = {}
        self.line_of: dict[Any, int] = {}
        self.arrays: list[np.ndarray] = []
        self.array_of: dict[tuple, int] = {}

    def operation(self, row: Row) -> int:
        found = self.operations.get(row.name)
        if found is None:
            if ROWS.get(row.name) is not row:
                raise RuntimeError(
                    f"save: {row.name} has been defined anew since; call the function again first"
                )
            if row.user is not None:
                self.custom |= _digests(row.name)
            found = self.operations[row.name] = len(self.operations)
        return found

    def spec(self, spec: Spec) -> int:
        return self.specs.setdefault(spec, len(self.specs))

    def signature(self, s: Signature) -> int:
        key = (s.row.op, s.in_specs, tuple(s.static.items()))
        found = self.signatures.get(key)
        if found is None:
            static = {k: encode_value(_plain(v)) for k, v in s.static.items()}
            operands = [self.spec(x) for x in s.in_specs]
            found = self.signatures[key] = len(self.described)
            self.described.append([self.operation(s.row), operands, self.spec(s.out), static])
        return found

    def line(self, place: Any) -> int:
        if place is None:
            return -1
        found = self.line_of.get(place)
        if found is None:
            text = where(place)
            found = self.lines.setdefault(text, len(self.lines)) if text != "-" else -1
            self.line_of[place] = found
        return found

    def array(self, a: np.ndarray) -> int:
        a = np.ascontiguousarray(a).reshape(a.shape)
        key = (a.dtype, a.shape, a.tobytes())
        if key not in self.array_of:
            self.array_of[key] = len(self.arrays)
            self.arrays.append(a.copy())
        return self.array_of[key]

    def path(self, path: Path) -> dict[str, Any]:
        """One path, as JSON; its rows, constants and lines as arrays."""
        trace = path.trace
        fixed = {**trace.constants, **{slot: c.array() for slot, c in trace.captures}}
        guards = []
        for g in trace.guards:
            expected = g.expected
            if g.kind == VALUE:
                assert isinstance(expected, bytes)
                expected = self.array(np.frombuffer(expected, np.uint8))
            guards.append([g.slot, g.kind, expected, self.line(g.place)])
        lines = [self.line(p) for p in trace.places] or [-1] * len(trace)
        return {
            "rows": self.array(self._rows(trace)),
            "numbers": self.array(trace.consts),
            "lines": self.array(np.array(lines, np.int64)),
            "inputs": list(trace.inputs),
            "outputs": list(trace.outputs),
            "constants": [[slot, self.array(fixed[slot])] for slot in sorted(fixed)],
            "guards": guards,
            "result": encode_structure(path.structure),
            "results": list(path.results),
            "fixed": [encode_value(v) for v in path.fixed],
        }

    def _rows(self, trace: Trace) -> np.ndarray:
        """The rows, with this file's numbers for operations, shapes and signatures."""
        code, out = trace.code, np.zeros((len(trace), COLUMNS), np.int64)
        for op in np.unique(code[:, OP]).tolist():
            row, mine = table_rows[op], code[:, OP] == op
            out[mine, OP] = self.operation(row)
            used = X + (3 if row.kind in (Kind.STRUCTURED, Kind.MOVEMENT) else row.arity)
            out[mine, X:used] = code[mine, X:used]
            if row.kind in (Kind.STRUCTURED, Kind.MOVEMENT):
                for k in np.unique(code[mine, SIG]).tolist():
                    out[mine & (code[:, SIG] == k), SIG] = self.signature(trace.signatures[k])
        for k in np.unique(code[:, SPEC]).tolist():
            out[code[:, SPEC] == k, SPEC] = self.spec(spec_table.by_id[k])
        return out


def _plain(value: Any) -> Any:
    """A static argument without NumPy's integers."""
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    return tuple([_plain(v) for v in value]) if isinstance(value, tuple) else value


def untyped(part: Any) -> Any:
    """A static part of a signature (`captures.typed`) as the value it was made of."""
    kind, value = part
    if kind in (float, complex):
        return kind(value)
    if kind is tuple:
        return tuple([untyped(p) for p in value])
    return frozenset([untyped(p) for p in value]) if kind is frozenset else value


def _digests(name: str) -> dict[str, str]:
    from tapegrad.custom.elementwise import OPS

    found = CUSTOM.match(name)
    base = found[0] if found else name
    return {base: OPS[base].digest} if base in OPS else {}


def dumps(compiled: Compiled) -> bytes:
    """What `save` writes, as bytes.

    Raises
    ------
    RuntimeError
        If nothing is recorded, or what is recorded does not hold any more.
    TypeError
        If a static argument or a fixed part of a result cannot be saved.
    """
    name, writer = compiled._name, _Writer()
    entries = []
    with compiled._lock:
        for key, entry in _valid(compiled):
            structure, parts, grad_enabled = key
            paths = [p for p in sorted(entry.paths, key=lambda p: p.used) if p.ready()]
            if not paths:
                continue
            try:
                given = [
                    {"spec": writer.spec(p)} if isinstance(p, Spec) else {"static": encode_value(untyped(p))}
                    for p in parts
                ]
                arguments, described = encode_structure(structure), [writer.path(p) for p in paths]
            except TypeError as error:
                raise TypeError(f"save: a static argument or result of {name}: {error}") from None
            entries.append(
                {"arguments": arguments, "parts": given, "grad_enabled": grad_enabled, "paths": described}
            )
        if not entries:
            raise RuntimeError(
                f"save: nothing is recorded of {name}, or what is recorded does not hold any more; call it "
                "with the kinds of arguments that it is to be used with"
            )
        from tapegrad import __version__

        header = {
            "format": FORMAT,
            "version": VERSION,
            "tapegrad": __version__,
            "name": name,
            "static_argnums": sorted(compiled._static_nums),
            "static_argnames": sorted(compiled._static_names),
            "takes_out": compiled._takes_out,
            "operations": list(writer.operations),
            "custom": writer.custom,
            "specs": [[s.dtype.name, list(s.shape)] for s in writer.specs],
            "signatures": writer.described,
            "lines": list(writer.lines),
            "entries": entries,
        }
        return pack(header, writer.arrays)


def _valid(compiled: Compiled) -> list[tuple[Any, Entry]]:
    """The signatures whose recordings hold for what the function captures now."""
    for environment, entries in compiled._environments:
        if environment.difference() is None:
            return list(entries.items())
    return []


def save(compiled: Compiled, path: Any) -> None:
    """Write the recorded paths of a compiled function to a file (see `Compiled.save`)."""
    data = dumps(compiled)
    target = os.fspath(path)
    if isinstance(target, bytes):
        target = os.fsdecode(target)
    temporary = f"{target}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
