"""What each function takes, which derivatives it has, and what these are at kinks: found by asking the table.

Nothing is listed here.  Dtypes and orders of derivatives are found by recording each row and each public
function's samples (nothing is computed), kinks by looking at which rows that recorded.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tapegrad import spec as specs
from tapegrad.ops.table import PUBLIC, Kind, Public, Row, Sample, ns
from tapegrad.ops.table import rows as table_rows
from tapegrad.tape import GRAD, OP, OP_MASK, SPEC, Tape, X, current
from tapegrad.testing.checks import floating, gradients, is_tensor
from tapegrad.testing.table import draw_row, draw_sample, row_function

__all__ = ["Coverage", "coverage"]

KINDS = {"bool": ("bool",), "int": ("int64",), "float": ("float64", "float32"), "complex": ("complex128",)}
ORDERS = 4  # recorded; where these exist, so do further ones
GUESSES = (Sample(((3, 3),)), Sample(((4, 2),)), Sample(((4, 2), (4, 2))))  # for functions without samples


class Coverage(NamedTuple):
    """What `coverage` found out about one function."""

    name: str  # where it is found: "sin", "linalg.solve"
    aliases: tuple[str, ...]
    also: tuple[str, ...]  # further namespaces
    home: str  # its namespace inside tapegrad's
    section: str
    dtypes: tuple[str, ...]  # of "bool", "int", "float", "complex"
    order: float  # highest order of derivative: 0, a number, or infinity
    by: tuple[tuple[str, float], ...]  # operands with their orders, where these differ
    kink: str  # what the derivative is where there is none
    doc: str

    @property
    def bare(self) -> str:
        """The name inside of the namespace."""
        return self.name.removeprefix(f"{self.home}.")


def coverage(names: Sequence[str] | None = None) -> list[Coverage]:
    """Say what tapegrad's functions take and what derivatives they have.

    Parameters
    ----------
    names : sequence of str, optional
        Functions, with their namespaces (``"linalg.solve"``) or without; aliases count.  Default all.

    Returns
    -------
    list of Coverage
        In the order of the table: elementwise rows, other public functions, creation and dtypes.

    Raises
    ------
    ValueError
        If a name is unknown.

    Examples
    --------
    >>> import tapegrad as tg
    >>> (sqrt,) = tg.testing.coverage(["sqrt"])
    >>> sqrt.dtypes, sqrt.order, sqrt.kink
    (('bool', 'int', 'float', 'complex'), inf, 'infinite at 0')
    """
    entries = list(_entries())
    if names is not None:
        known = {n for e in entries for n in _names(e)}
        if unknown := [n for n in names if n not in known]:
            raise ValueError(f"coverage: no function named {', '.join(unknown)}")
        entries = [e for e in entries if not _names(e).isdisjoint(names)]
    return [_describe(entry) for entry in entries]


class Plain(NamedTuple):
    """A public function that is in no table: it makes tensors, or tells about dtypes."""

    function: Callable
    section: str

    @property
    def name(self) -> str:
        return self.function.__name__


def _entries() -> Iterator[Row | Public | Plain]:
    from tapegrad.interop import dlpack
    from tapegrad.ops import creation, dtypes

    yield from [row for row in table_rows if row.kind is Kind.ELEMENTWISE and row.public]
    yield from PUBLIC.values()
    for module in (creation, dtypes, dlpack):
        for name in module.__all__:
            if inspect.isfunction(function := getattr(module, name)):
                yield Plain(function, "creation" if module is not dtypes else "dtypes")


def _names(entry: Row | Public | Plain) -> set[str]:
    aliases = () if isinstance(entry, Plain) else entry.aliases
    return {entry.name, entry.name.split(".")[-1], *aliases}


def _describe(entry: Row | Public | Plain) -> Coverage:
    kept = current.tape
    current.tape = Tape()  # what is recorded here, nobody runs
    try:
        if isinstance(entry, Plain):
            return _plain(entry)
        dtypes, orders, kink = _of_row(entry) if isinstance(entry, Row) else _of_public(entry)
    finally:
        current.tape = kept
    by = tuple(orders.items()) if len(set(orders.values())) > 1 else ()
    order = max(orders.values(), default=0.0)
    home, section, doc = entry.home, entry.section, entry.doc.strip().split("\n")[0].rstrip(".")
    return Coverage(entry.name, entry.aliases, entry.also, home, section, dtypes, order, by, kink, doc)


# --- dtypes ---------------------------------------------------------------------------------------


def _taken(attempts: Callable[[str], Iterator[Callable[[], Any]]]) -> tuple[str, ...]:
    """The kinds of dtypes of which an attempt succeeds."""
    return tuple(
        kind for kind, dtypes in KINDS.items() if all(any(map(_succeeds, attempts(d))) for d in dtypes)
    )


def _succeeds(attempt: Callable[[], Any]) -> bool:
    current.tape = Tape()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of complex numbers that become real ones
        try:
            attempt()
        except Exception:
            return False
    return True


def _cast(value: Any, dtype: str) -> Any:
    """Operands of a call in ``dtype``: what samples are prepared of may have become floating."""
    if is_tensor(value):
        return ns.astype(value, dtype) if value.dtype.kind in "fc" else value
    return [_cast(v, dtype) for v in value] if isinstance(value, list) else value


def _of_row(row: Row) -> tuple:
    function, rng = row_function(row), np.random.default_rng(0)

    def attempts(dtype: str) -> Iterator[Callable[[], Any]]:
        operands = draw_row(row, [(2,)] * row.arity, rng, dtype)
        yield lambda: function(*map(ns.tensor, operands))

    orders: dict[str, float] = {}
    if any(row.rules):
        orders = _orders(function, draw_row(row, [(2,)] * row.arity, rng), "xyz")
    return _taken(attempts), orders, _kink_of_row(row)


def _of_public(entry: Public) -> tuple:
    rng = np.random.default_rng(0)

    def attempts(dtype: str) -> Iterator[Callable[[], Any]]:
        for sample in entry.samples or GUESSES:
            wanted = dtype if sample.dtype == "float64" else sample.dtype

            def attempt(sample: Sample = sample, wanted: str = wanted) -> None:
                operands, bind = draw_sample(sample, rng, wanted)
                met: list[Any] = []

                def call(*given: Any, **more: Any) -> Any:
                    given = tuple(_cast(value, dtype) for value in given)
                    met.extend(v.dtype for value in given for v in _flat(value) if is_tensor(v))
                    return entry.function(*given, **more)

                bind(call)(*map(ns.tensor, operands))
                if dtype not in met:
                    raise TypeError("not an operand of this dtype")

            yield attempt

    smooth = [s for s in entry.samples if s.differentiable and np.dtype(s.dtype).kind in "fc"]
    smooth = smooth or [s._replace(dtype="float64") for s in entry.samples]
    if not entry.differentiable or not smooth:
        return _taken(attempts), {}, ""
    parameters = [p.name for p in inspect.signature(entry.function).parameters.values()]
    kinks: dict[str, dict[str, None]] = {}
    orders: dict[str, float] = {}
    for k, sample in enumerate(smooth):
        operands, bind = draw_sample(sample, rng)
        places = [len(sample.prefix) + (0 if sample.packed else i) for i in range(len(operands))]
        names = [parameters[min(place, len(parameters) - 1)] for place in places]
        for name, order in _orders(
            bind(entry.function), operands, names, kinks, ORDERS if k == 0 else 1
        ).items():
            known = orders.get(name, 0.0)
            orders[name] = min(known, order) if known and order else max(known, order)
    kink = entry.kink or _joined(kinks, entry)
    return _taken(attempts), orders, "" if kink == "none" else kink


def _flat(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


# --- orders of derivatives ------------------------------------------------------------------------


def _orders(
    function: Callable,
    operands: Sequence[np.ndarray],
    names: Sequence[str],
    kinks: dict[str, dict[str, None]] | None = None,
    orders: int = ORDERS,
) -> dict[str, float]:
    """Record derivatives by each operand, of higher and higher order; the highest that there is.

    Nothing is computed.
    """
    found: dict[str, float] = {}
    for k, operand in enumerate(operands):
        if operand.dtype.kind in "fc":
            current.tape = Tape()
            inputs = [ns.tensor(a, requires_grad=i == k) for i, a in enumerate(operands)]
            order = _order(function, inputs, inputs[k], kinks, orders)
            found[names[k]] = max(found.get(names[k], 0.0), order)
    return found


def _order(
    function: Callable, inputs: list, x: Any, kinks: dict[str, dict[str, None]] | None, orders: int
) -> float:
    order = 0
    try:
        outs = [o for o in floating(function(*inputs)) if o.requires_grad]
        if kinks is not None and outs:
            _collect(outs, kinks)
        while outs and order < orders:
            weights = [np.ones(o.shape, o.dtype) for o in outs]
            (g,) = gradients(outs, [x], weights, create_graph=True)
            order += 1
            outs = [o for o in floating([] if g is None else [g]) if o.requires_grad]
    except (NotImplementedError, RuntimeError, ValueError, TypeError):  # there are no further ones
        return order
    return np.inf if order else 0.0


# --- kinks ----------------------------------------------------------------------------------------


def _collect(outs: Sequence[Any], kinks: dict[str, dict[str, None]]) -> None:
    """Enter the kinks of the rows that ``outs`` come from, or the indices that they use: text -> rows."""
    tape = current.tape
    tape.seal()
    pending, seen = [o._slot for o in outs], set()
    while pending:
        slot = pending.pop()
        if slot < 0 or slot in seen:
            continue
        seen.add(slot)
        op, spec = int(tape.code[slot, OP]), specs.table.by_id[int(tape.code[slot, SPEC])]
        row, grad = table_rows[op & OP_MASK], bool(op & GRAD)
        if row.kink and (grad or not row.rules):  # without rules: a choice that derivatives follow
            kinks.setdefault(row.kink, {})[row.name] = None
        if grad or spec.kind in "iu":
            pending += [int(tape.code[slot, X + k]) for k in range(row.arity)]


def _joined(kinks: dict[str, dict[str, None]], entry: Public) -> str:
    """The kinks of a function: its own first, others with the names of the rows they come from."""
    parts = []
    for text, names in kinks.items():
        inside = [name for name in names if not _is(name, entry)]
        parts.append(text if len(inside) < len(names) else f"{', '.join(sorted(inside))}: {text}")
    return "; ".join(sorted(parts))


def _is(name: str, entry: Public) -> bool:
    row = next(r for r in table_rows if r.name == name)
    return row.kind is Kind.STRUCTURED or name in _names(entry)


def _kink_of_row(row: Row) -> str:
    """What the row says; else where its derivative is infinite."""
    if row.kink or not row.guarded:
        return row.kink
    places = []
    for k, (domain, rule) in enumerate(zip(row.domain, row.rules)):
        for point in (domain.low, *domain.avoid, domain.high) if rule is not None else ():
            if np.isfinite(point) and not np.isfinite(_slope(row, k, point)):
                name = "xyz"[k] + " = " if row.arity > 1 else ""
                places.append(f"{name}{point:g}")
    return f"infinite at {', '.join(places)}" if places else ""


def _operands(row: Row, k: int, point: float) -> list[np.float64]:
    from tapegrad.ops.namespace import _example_value

    found = [np.float64(_example_value(domain)[0]) for domain in row.domain]
    found[k] = np.float64(point)
    return found


def _value(row: Row, k: int, point: float) -> float:
    assert row.forward is not None
    with np.errstate(all="ignore"):
        try:
            return float(row.forward(*_operands(row, k, point)))
        except ZeroDivisionError:
            return np.inf


def _slope(row: Row, k: int, point: float) -> float:
    rule = row.rules[k]
    assert rule is not None
    with np.errstate(all="ignore"):
        try:
            return float(rule(np.float64(1.0), np.float64(_value(row, k, point)), *_operands(row, k, point)))
        except ZeroDivisionError:
            return np.inf


# --- functions outside the table ------------------------------------------------------------------


def _plain(entry: Plain) -> Coverage:
    """A function that makes tensors: which dtypes it can be made to give, whether gradients pass it."""
    f: Callable = entry.function

    def calls(dtype: str) -> Iterator[Callable[[], Any]]:
        array = np.ones((2, 2), dtype)
        yield lambda: f(ns.tensor(array))
        yield lambda: f(array)
        yield lambda: f((2, 2), dtype=dtype)
        yield lambda: f(2, dtype=dtype)
        yield lambda: f((2, 2), 1, dtype=dtype)
        yield lambda: f(0, 1, 2, dtype=dtype)
        yield lambda: f(array[0])

    def attempts(dtype: str) -> Iterator[Callable[[], Any]]:
        for call in calls(dtype):

            def attempt(call: Callable[[], Any] = call) -> None:
                if not any(is_tensor(t) and t.dtype == dtype for t in _flat(call())):
                    raise TypeError("another dtype")

            yield attempt

    def passes() -> bool:
        for more in ((), ("float64",)):
            try:
                if any(t.requires_grad for t in _flat(f(ns.tensor(np.ones(2), requires_grad=True), *more))):
                    return True
            except Exception:
                continue
        return False

    doc = (entry.function.__doc__ or "").split("\n")[0].rstrip(".")
    order = np.inf if passes() else 0.0
    return Coverage(entry.name, (), (), "", entry.section, _taken(attempts), order, (), "", doc)
