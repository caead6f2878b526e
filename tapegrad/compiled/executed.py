"""Whether a captured array is used as an operand only, or whether NumPy may have computed with it.

An operand is read again at each replay; what NumPy computes while a function is recorded (``W.sum()``,
``W[0]``, ``W > 0``) is computed once.  So every place where the function's code loads the array's name, and
which was executed, is matched with a place where the array became an operand.  If one is left over, the
array's content is compared at each replay.
"""

from __future__ import annotations

import dis
import functools
import sys
import threading
import types
from collections.abc import Iterable
from typing import Any, NamedTuple

from tapegrad.tape import Place

__all__ = ["ExecutedLines", "Load", "names_of", "unaccounted"]

NOISE = frozenset(("CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL", "RESUME"))
NAME = frozenset(("LOAD_CLASSDEREF", "LOAD_DEREF", "LOAD_GLOBAL", "LOAD_NAME"))
ATTRIBUTE = frozenset(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"))
METADATA = frozenset(("shape", "ndim", "size", "dtype", "itemsize", "nbytes"))
MOVES = (
    "LOAD_",
    "STORE_",
    "SWAP",
    "ROT_",
    "COPY",
    "BUILD_TUPLE",
    "UNPACK_SEQUENCE",
)  # what binding a name takes
PICKS = (
    "BINARY_SUBSCR", "END_FOR", "FOR_ITER", "GET_ITER", "JUMP_", "KW_NAMES", "NOT_TAKEN", "POP_ITER",
    "POP_TOP",
)  # fmt: skip
ITERATORS = frozenset(("enumerate", "items", "reversed", "values", "zip"))
Span = tuple[int, int, int, int]  # first line, first column, last line, last column


class Load(NamedTuple):
    """An instruction that loads a name, of which more is read than shape and dtype."""

    code: types.CodeType
    line: int
    span: Span
    binds: bool  # the line only gives the object another name
    picks: bool  # the line only gives elements of the object names


def _spans(code: types.CodeType) -> list[Span]:
    """Per instruction, the part of the source it stands for (whole lines before Python 3.11)."""
    if sys.version_info >= (3, 11):
        known = [(a or 0, c or 0, b or 0, d or 0) for a, b, c, d in code.co_positions()]
        return known
    spans: list[Span] = [(0, 0, 0, 0)] * (len(code.co_code) // 2)
    for begin, end, line in code.co_lines():
        for k in range(begin // 2, end // 2):
            spans[k] = (line or 0, 0, line or 0, 1 << 20)
    return spans


class Names(NamedTuple):
    """What a code object names."""

    scope: tuple[str, ...]  # globals
    attributes: tuple[str, ...]
    loads: tuple[tuple[str, Load], ...]


@functools.lru_cache(maxsize=1024)
def names_of(code: types.CodeType) -> Names:
    """Find the globals and attributes that a code object names, and where it loads names."""
    spans = _spans(code)
    steps = [i for i in dis.get_instructions(code) if i.opname not in NOISE]
    lines = [spans[i.offset // 2][0] for i in steps]
    busy = {line for i, line in zip(steps, lines) if not i.opname.startswith(MOVES)}
    loops = {line for i, line in zip(steps, lines) if i.opname == "GET_ITER"}
    loops &= {line for i, line in zip(steps, lines) if i.argval in ITERATORS}
    picky = {
        line
        for i, line in zip(steps, lines)
        if not (_picks(i) or (line in loops and i.opname.startswith("CALL")))
    }
    scope: dict[str, None] = {}
    attributes: dict[str, None] = {}
    out = []
    for k, step in enumerate(steps):
        kind, name = step.opname, step.argval
        if kind in ("LOAD_GLOBAL", "LOAD_NAME"):
            scope[name] = None
        elif kind in ATTRIBUTE:
            attributes[name] = None
        if not (kind in NAME or (kind in ATTRIBUTE and name not in METADATA)):
            continue
        after = steps[k + 1] if k + 1 < len(steps) else step
        measured = after.opname in ATTRIBUTE and after.argval in METADATA
        counted = after.opname.startswith("CALL") and k > 0 and steps[k - 1].argval == "len"
        if not (measured or counted):
            span = spans[step.offset // 2]
            out.append((name, Load(code, span[0], span, span[0] not in busy, span[0] not in picky)))
    return Names(tuple(scope), tuple(attributes), tuple(out))


def _picks(step: dis.Instruction) -> bool:
    subscript = step.opname == "BINARY_OP" and step.argrepr == "[]"
    return subscript or step.opname.startswith((*MOVES, *PICKS))


def _contains(outer: Span, inner: Span) -> bool:
    return outer[:2] <= inner[:2] and inner[2:] <= outer[2:]


def _size(span: Span) -> tuple[int, int]:
    return span[2] - span[0], span[3] - span[1]


def unaccounted(
    loads: Iterable[Load],
    places: Iterable[Place],
    executed: dict[types.CodeType, set[int]] | None,
    container: bool = False,
) -> bool:
    """Whether a load was executed that is no use as an operand.

    Parameters
    ----------
    loads : iterable of Load
        Where the code loads the array's names.
    places : iterable of (code, offset)
        Where the array became an operand.
    executed : dict or None
        The lines that ran; ``None`` if that is not known.
    container : bool
        Whether the names are those of a container, of whose arrays ``places`` tells.
    """
    pending = [x for x in loads if executed is None or x.line in executed.get(x.code, ())]
    by_name = {x.code for x in pending}
    places = set(places)
    if any(code not in by_name for code, _ in places):
        return False  # passed on as an argument, and used by that name
    uses = sorted(
        [(code, _spans(code)[offset // 2]) for code, offset in places], key=lambda use: _size(use[1])
    )
    for code, span in uses:
        for k, load in enumerate(pending):
            if load.code == code and _contains(span, load.span):
                del pending[k]
                break
    used = {code for code, _ in uses}
    return any(not ((x.picks if container else x.binds) and x.code in used) for x in pending)


class ExecutedLines:
    """A context manager that notes which lines of some code objects run in this thread.

    ``lines`` stays ``None`` where that cannot be found out, because a debugger or a coverage tool is active.
    """

    def __init__(self, codes: Iterable[types.CodeType]) -> None:
        self.codes = set(codes)
        self.lines: dict[types.CodeType, set[int]] | None = None
        self._tool = -1

    def __enter__(self) -> ExecutedLines:
        if not self.codes:
            return self
        if sys.version_info >= (3, 12):
            self._watch()
        elif sys.gettrace() is None:
            self.lines = {code: set() for code in self.codes}
            sys.settrace(self._call)
        return self

    def __exit__(self, *exc: object) -> None:
        if sys.version_info >= (3, 12):
            if self._tool >= 0:
                for code in self.codes:
                    sys.monitoring.set_local_events(self._tool, code, 0)
                sys.monitoring.free_tool_id(self._tool)
                self._tool = -1
        elif self.lines is not None and sys.gettrace() == self._call:
            sys.settrace(None)

    if sys.version_info >= (3, 12):

        def _watch(self) -> None:
            monitoring = sys.monitoring
            ident = threading.get_ident()
            lines: dict[types.CodeType, set[int]] = {code: set() for code in self.codes}

            def line(code: types.CodeType, number: int) -> Any:
                if threading.get_ident() == ident:
                    lines[code].add(number)
                return None

            def start(code: types.CodeType, offset: int) -> Any:
                # Python 3.13 has no event for a line that a function begins with.
                return line(code, code.co_firstlineno)

            for tool in (3, 4):
                try:
                    monitoring.use_tool_id(tool, "tapegrad")
                except ValueError:
                    continue
                self._tool, self.lines = tool, lines
                events = monitoring.events
                monitoring.register_callback(tool, events.LINE, line)
                monitoring.register_callback(tool, events.PY_START, start)
                for code in self.codes:
                    monitoring.set_local_events(tool, code, events.LINE | events.PY_START)
                return

    def _call(self, frame: types.FrameType, event: str, arg: Any) -> Any:
        return self._line if frame.f_code in self.codes else None

    def _line(self, frame: types.FrameType, event: str, arg: Any) -> Any:
        if self.lines is not None and frame.f_lineno is not None:
            self.lines[frame.f_code].add(frame.f_lineno)
        return self._line
