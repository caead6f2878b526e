"""Checking every row of the table and every public function at inputs drawn from their domains."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tapegrad.ops.table import PUBLIC, REAL, Domain, Kind, Public, Row, Sample, ns
from tapegrad.ops.table import rows as table_rows
from tapegrad.testing.checks import Check, active, flattened, to_array

__all__ = ["Result", "check_table", "draw", "draw_sample", "interval", "row_function"]

MARGIN = 0.0625  # distance kept from kinks and from the ends of a domain (exact in float32)


class Result(NamedTuple):
    """What `check_table` found out about one function.

    ``status`` is ``"ok"``, ``"no derivative"`` or the message of the failure; ``error`` is the largest
    difference from finite differences, relative to ``max(1, |value|)``.
    """

    name: str
    kind: str
    checks: int
    error: float
    status: str

    @property
    def failed(self) -> bool:
        """Whether a check failed."""
        return self.status not in ("ok", "no derivative")


def interval(domain: Domain, reach: float = 3.0) -> tuple[float, float, tuple[float, ...]]:
    """Closed, bounded interval to draw from, and the points to stay away from."""
    low, high, avoid = domain
    low = low + MARGIN if np.isfinite(low) else (high - 2 * reach if np.isfinite(high) else -reach)
    high = high - MARGIN if np.isfinite(high) else max(reach, low + reach)
    if low >= high:  # a domain narrower than two margins
        middle, width = (domain.low + domain.high) / 2, (domain.high - domain.low) / 4
        low, high = middle - width, middle + width
    return float(low), float(high), tuple(k for k in avoid if low <= k <= high)


def draw(
    domain: Domain, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = "float64"
) -> np.ndarray:
    """Draw an array whose elements lie in ``domain``, away from its kinks and all different.

    Parameters
    ----------
    domain : Domain
        Open interval and kinks.
    shape : tuple of int
        Shape of the result.
    rng : numpy.random.Generator
        Where randomness comes from.
    dtype : dtype
        Integer dtypes get small integers, bool gets truths of both kinds, complex dtypes numbers around 0.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> from tapegrad.ops.table import Domain
    >>> x = tg.testing.draw(Domain(0.0, 1.0), (100,), np.random.default_rng(0))
    >>> bool((x > 0).all() and (x < 1).all())
    True
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64))
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        # far enough for all elements to differ: which of two equals comes first is nobody's business
        low, high, avoid = interval(domain, max(5.0, float(size)))
        first, last = int(np.ceil(max(low, 0.0) if dtype.kind == "u" else low)), int(np.floor(high))
        whole = np.arange(first, max(first, last) + 1)
        if len(allowed := np.setdiff1d(whole, avoid)):  # kinks at all integers are no reason to give up
            whole = allowed
        return rng.choice(whole, shape, replace=len(whole) < size).astype(dtype)
    if dtype.kind == "c":  # away from both axes, along which functions have their branch cuts
        parts = [draw(Domain(-1.75, 1.75, avoid=(-0.25, 0.0, 0.25)), shape, rng) for _ in range(2)]
        return (parts[0] + 1j * parts[1]).astype(dtype)
    low, high, avoid = interval(domain)
    # One value per equal cell, so that sorting, maxima and ties are decided by a clear margin.
    cells = (rng.permutation(size) + rng.uniform(0.25, 0.75, size)) / max(size, 1)
    values = low + (high - low) * cells
    margin = min(MARGIN, (high - low) / 16)
    for kink in avoid:
        close = np.abs(values - kink) < margin
        values[close] = kink + margin * np.where(values[close] < kink, -1.0, 1.0)
    return values.reshape(shape).astype(dtype)


def row_function(row: Row) -> Callable:
    """The public function of an elementwise row (or a recorder, for rows without one)."""
    from tapegrad.ops.namespace import function_of

    return function_of(row)


def draw_row(
    row: Row, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator, dtype: Any = "float64"
) -> list[np.ndarray]:
    """Operands for an elementwise row; conditions and operands of logic are drawn as truths."""
    domains = list(row.domain) + [REAL] * (row.arity - len(row.domain))
    found = [draw(d, s, rng, dtype) for d, s in zip(domains, shapes, strict=True)]
    if row.dtype_rule == "where":
        found[0] = draw(REAL, shapes[0], rng, "bool")
    return found


def draw_sample(
    sample: Sample, rng: np.random.Generator, dtype: Any = None
) -> tuple[list[np.ndarray], Callable[[Callable], Callable]]:
    """Operands for a sample, and ``bind(function)``: the function of just those operands.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> from tapegrad.ops.table import Sample
    >>> operands, bind = tg.testing.draw_sample(Sample(((2, 3),), {"axis": 1}), np.random.default_rng(0))
    >>> bind(np.sum)(*operands).shape
    (2,)
    """
    wanted = np.dtype(dtype or sample.dtype)
    operands = [draw(sample.domain, shape, rng, wanted) for shape in sample.shapes]

    def bind(function: Callable) -> Callable:
        def call(*given: Any) -> Any:
            if sample.prepare is not None:
                given = sample.prepare(*given)
            if sample.writes:
                plain = all(isinstance(x, np.ndarray) for x in given)
                given = (given[0].copy() if plain else ns.as_tensor(given[0]).clone(), *given[1:])
            first = (list(given),) if sample.packed else given
            out = function(*sample.prefix, *first, *sample.args, **sample.kwargs)
            return given[0] if sample.writes else out

        return call

    return operands, bind


def check_table(names: Sequence[str] | None = None, order: int = 2, seed: int = 0) -> Iterator[Result]:
    """Check values and derivatives of the table's rows and of the public functions.

    Parameters
    ----------
    names : sequence of str, optional
        Rows and functions to check (aliases count); default all.
    order : int
        Highest order of derivative.
    seed : int
        Seed of the inputs.

    Yields
    ------
    Result
        One per row or function, in the order of the table.

    Raises
    ------
    ValueError
        If a name is unknown.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [result.status for result in tg.testing.check_table(["sin"])]
    ['ok']
    """
    import tapegrad  # noqa: F401  (fills the table)

    entries: dict[str, Row | Public] = {
        row.name: row for row in table_rows if row.kind is Kind.ELEMENTWISE and row.public
    }
    for name, function in PUBLIC.items():
        entries.setdefault(name, function)
    wanted = None
    if names is not None:
        aliases = {alias: name for name, entry in entries.items() for alias in (name, *entry.aliases)}
        unknown = [name for name in names if name not in aliases]
        if unknown:
            raise ValueError(f"check_table: no row or public function named {', '.join(unknown)}")
        wanted = {aliases[name] for name in names}
    for name, entry in entries.items():
        if wanted is None or name in wanted:
            check = _check_row if isinstance(entry, Row) else _check_public
            yield check(entry, order, seed)  # type: ignore[operator]


def _status(kind: str) -> Callable:
    """Turn whatever a check raises into a status: the table is reported to its end."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def run(entry: Any, order: int, seed: int) -> Result:
            tally = Check(seed=seed)
            try:
                status = function(entry, order, np.random.default_rng(seed), tally)
            except Exception as error:
                status = f"{type(error).__name__}: {error}"
            return Result(entry.name, kind, tally.checks, tally.error, status)

        return run

    return decorate


@_status("elementwise")
def _check_row(row: Row, order: int, rng: np.random.Generator, tally: Check) -> str:
    function = row_function(row)
    for shapes in (((5,),) * row.arity, ((2, 1), (1, 3), (2, 3))[: row.arity]):
        operands = draw_row(row, shapes, rng, "int64" if row.dtype_rule == "bits" else "float64")
        _same_value(function(*map(ns.tensor, operands)), row.reference, operands, tally)
        if any(row.rules) and active(function(*map(ns.tensor, operands))):
            tally.run(function, operands, order)
    return "ok" if any(row.rules) else "no derivative"


@_status("public")
def _check_public(entry: Public, order: int, rng: np.random.Generator, tally: Check) -> str:
    differentiated = False
    for sample in entry.samples:
        operands, bind = draw_sample(sample, rng)
        function = bind(entry.function)
        if entry.reference is not None:
            _same_value(function(*map(ns.tensor, operands)), bind(entry.reference), operands, tally)
        if entry.differentiable and sample.differentiable and any(map(active, operands)):
            tally.run(function, operands, order)
            differentiated = True
    return "ok" if differentiated else "no derivative"


def _same_value(out: Any, reference: Callable | None, operands: list, tally: Check) -> None:
    if reference is None:
        return
    with np.errstate(all="ignore"):
        expected = reference(*operands)
    for o, e in zip(flattened(out), flattened(expected), strict=True):
        np.testing.assert_allclose(to_array(o), e, rtol=1e-12, atol=1e-12)
        tally.checks += 1
