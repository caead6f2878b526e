"""What a distribution is: one row of formulas, from which its public functions are made.

A row gives the logarithm of the density of the standard variable (for counts, of the probability) and, where
special functions make them possible, the distribution function and its complement, as expressions in
tapegrad's functions.  What is the same for all is done here, once: location and scale, the support (zero
density and zero gradients outside), parameters that mean nothing (NaN), dtypes, SciPy's argument order.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tapegrad.ops.record import as_inexact, as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import FLOAT64, result_dtype
from tapegrad.tensor import Tensor

__all__ = ["Distribution", "distribution", "floating", "scipy_reference"]

METHODS = {
    "logpdf": "The logarithm of the density of {it} at ``x``.",
    "pdf": "The density of {it} at ``x``.",
    "logpmf": "The logarithm of the probability that {it} gives the count ``k``.",
    "pmf": "The probability that {it} gives the count ``k``.",
    "cdf": "The probability that {it} gives at most ``{x}``.",
    "sf": "The probability that {it} gives more than ``{x}``, accurate where it is small.",
    "logcdf": "The logarithm of the probability that {it} gives at most ``{x}``.",
    "logsf": "The logarithm of the probability that {it} gives more than ``{x}``.",
    "ppf": "The quantile of {it} below which the share ``q`` lies.",
}


@dataclass(frozen=True)
class Distribution:
    """One distribution of numbers.

    Attributes
    ----------
    name : str
        SciPy's.
    shapes : tuple of str
        Names of the shape parameters, in SciPy's order.
    density : callable
        ``density(y, *shapes)``: logarithm of the density of the standard variable inside the support.
    support : callable
        ``support(*shapes) -> (low, high)``, ends that belong to it; ``None`` for no end.
    inside : float
        A standard value that lies in any support: density is computed there instead of outside.
    valid : callable, optional
        ``valid(*shapes)``: where the parameters mean something.
    cdf, sf, logcdf, logsf : callable, optional
        As ``density``.  Logarithms that are left out are those of the others.
    ppf : callable, optional
        ``ppf(q, *shapes)``: the inverse of ``cdf``, for ``0 < q < 1``.
    discrete : bool
        Whether it is of counts: no scale, and numbers that are not whole have probability 0.
    arguments : callable
        ``arguments(x, *shapes)`` (without ``x`` for counts): makes values that fit of any numbers, for tests.
    example, counts : tuple
        Arguments for the documentation's example; counts for tests.
    """

    name: str
    shapes: tuple[str, ...]
    density: Callable
    support: Callable
    inside: float
    doc: str
    valid: Callable | None = None
    cdf: Callable | None = None
    sf: Callable | None = None
    logcdf: Callable | None = None
    logsf: Callable | None = None
    ppf: Callable | None = None
    discrete: bool = False
    arguments: Callable | None = None
    example: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0, 1, 2, 3, 1)

    @property
    def variable(self) -> str:
        """What SciPy calls the first argument."""
        return "k" if self.discrete else "x"

    def parameters(self, name: str) -> tuple[inspect.Parameter, ...]:
        """Of a method."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        first = "q" if name == "ppf" else self.variable
        made = [inspect.Parameter(n, kind) for n in (first, *self.shapes)]
        further = {"loc": 0} if self.discrete else {"loc": 0, "scale": 1}
        return (*made, *[inspect.Parameter(n, kind, default=v) for n, v in further.items()])


# --- arguments ------------------------------------------------------------------------------------


def floating(values: Sequence[Any]) -> list[Tensor]:
    """Operands of one floating dtype: counts take that of the parameters."""
    tensors = [as_operand(v, "stats") if not isinstance(v, (bool, int, float)) else v for v in values]
    known = [t.dtype if isinstance(t, Tensor) else t for t in tensors]
    if any(isinstance(d, np.dtype) and d.kind == "c" for d in known):
        raise TypeError("stats: distributions are of real numbers; an argument is complex")
    kinds = [d for d in known if isinstance(d, np.dtype) and d.kind == "f"]
    if kinds:
        dtype = result_dtype(*kinds, *[d for d in known if not isinstance(d, np.dtype)])
    else:
        dtype = FLOAT64
    return [
        cast(as_inexact(t), dtype) if not isinstance(t, Tensor) or t.dtype != dtype else t for t in tensors
    ]


def standard(d: Distribution, x: Tensor, loc: Any, scale: Any) -> Tensor:
    """The standard variable."""
    centred = x if _number(loc) and loc == 0 else x - loc
    return centred if d.discrete or (_number(scale) and scale == 1) else centred / scale


def _read(d: Distribution, name: str, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, list, Any, Any]:
    """Arguments as SciPy takes them: the first one, shapes, location and scale."""
    try:
        bound = inspect.Signature(d.parameters(name)).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{d.name}.{name}: {error}") from None
    bound.apply_defaults()
    given = list(bound.arguments.values())
    plain = given[1 + len(d.shapes) :]
    numbers = floating([given[0], *given[1 : 1 + len(d.shapes)], *[v for v in plain if not _number(v)]])
    x, shapes = numbers[0], numbers[1 : 1 + len(d.shapes)]
    rest = iter(numbers[1 + len(d.shapes) :])
    loc, scale = [v if _number(v) else next(rest) for v in (*plain, 1)][:2]
    return x, shapes, loc, scale


def _number(value: Any) -> bool:
    return value.__class__ in (int, float)


def _masks(d: Distribution, y: Tensor, shapes: list, scale: Any) -> tuple[Any, Any, Any]:
    """Where ``y`` lies below and above the support, and where parameters mean nothing (``None``: nowhere)."""
    low, high = d.support(*shapes)
    below = None if low is None else ns.less(y, low)
    above = None if high is None else ns.greater(y, high)
    bad = None if d.valid is None else ns.logical_not(d.valid(*shapes))
    if d.discrete:
        bad = _either(bad, ns.isnan(y))
    if not d.discrete and (isinstance(scale, Tensor) or scale <= 0):
        wrong = ns.logical_not(ns.greater(as_inexact(scale), 0.0))
        bad = wrong if bad is None else ns.logical_or(bad, wrong)
    return below, above, bad


def _either(x: Any, y: Any) -> Any:
    if x is None or y is None:
        return x if y is None else y
    return ns.logical_or(x, y)


def _choose(mask: Any, value: Any, otherwise: Tensor) -> Tensor:
    return otherwise if mask is None else ns.where(mask, value, otherwise)


# --- methods --------------------------------------------------------------------------------------


def _log_density(d: Distribution, name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    x, shapes, loc, scale = _read(d, name, args, kwargs)
    y = standard(d, x, loc, scale)
    below, above, bad = _masks(d, y, shapes, scale)
    outside = _either(below, above)
    if d.discrete:
        outside = _either(outside, ns.greater(y, ns.floor(y)))
    out = d.density(_choose(outside, d.inside, y), *shapes)
    if not d.discrete and not (_number(scale) and scale == 1):
        out = out - ns.log(as_inexact(scale))
    return _choose(bad, np.nan, _choose(outside, -np.inf, out))


def _probability(d: Distribution, name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    """``cdf``, ``sf`` and their logarithms: known outside of the support."""
    x, shapes, loc, scale = _read(d, name, args, kwargs)
    y = standard(d, x, loc, scale)
    if d.discrete:
        y = ns.floor(y)
    below, above, bad = _masks(d, y, shapes, scale)
    out = getattr(d, name)(_choose(_either(below, above), d.inside, y), *shapes)
    none, all_ = (-np.inf, 0.0) if name.startswith("log") else (0.0, 1.0)
    first, last = (all_, none) if name.endswith("sf") else (none, all_)
    return _choose(bad, np.nan, _choose(below, first, _choose(above, last, out)))


def _quantile(d: Distribution, name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    """``ppf``: the ends of the support where ``q`` is 0 or 1."""
    q, shapes, loc, scale = _read(d, name, args, kwargs)
    low, high = d.support(*shapes)
    _, _, bad = _masks(d, q, shapes, scale)
    inside = ns.logical_and(ns.greater(q, 0.0), ns.less(q, 1.0))
    out = d.ppf(ns.where(inside, q, 0.5), *shapes)  # type: ignore[misc]
    # an end as near to 0 as that is one of what lies above 0
    low = -np.inf if low is None else 0.0 if low == 5e-324 else low
    out = ns.where(ns.equal(q, 0.0), low, out)
    out = ns.where(ns.equal(q, 1.0), np.inf if high is None else high, out)
    out = out if _number(scale) and scale == 1 else out * scale
    out = out if _number(loc) and loc == 0 else out + loc
    wrong = ns.logical_not(ns.logical_and(ns.greater_equal(q, 0.0), ns.less_equal(q, 1.0)))
    return ns.where(_either(bad, wrong), np.nan, out)


def _exponential(d: Distribution, name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    return ns.exp(_log_density(d, name, args, kwargs))


def distribution(d: Distribution) -> Distribution:
    """Register the public functions of a distribution: ``tapegrad.stats.norm.logpdf`` and so on."""
    density, exponential = ("logpmf", "pmf") if d.discrete else ("logpdf", "pdf")
    if d.cdf is not None and d.sf is not None:
        d = replace(d, logcdf=d.logcdf or _logarithm(d.cdf, d.sf), logsf=d.logsf or _logarithm(d.sf, d.cdf))
    _register(d, density, _log_density)
    _register(d, exponential, _exponential)
    for name in ("cdf", "sf", "logcdf", "logsf"):
        if getattr(d, name) is not None:
            _register(d, name, _probability)
    if d.ppf is not None:
        _register(d, "ppf", _quantile)
    return d


def _logarithm(function: Callable, rest: Callable) -> Callable:
    """The logarithm of a probability, all digits of it also where it is near 1."""

    def logarithm(*values: Any) -> Any:
        p = function(*values)
        low = ns.less(p, 0.5)
        return ns.where(low, ns.log(ns.where(low, p, 1.0)), ns.log1p(-ns.where(low, 0.0, rest(*values))))

    return logarithm


def _register(d: Distribution, name: str, way: Callable) -> None:
    def method(*args: Any, **kwargs: Any) -> Tensor:
        return way(d, name, args, kwargs)

    method.__name__ = f"{d.name}.{name}"
    method.__doc__ = _documentation(d, name)
    method.__signature__ = inspect.Signature(d.parameters(name))  # type: ignore[attr-defined]
    function = composite(method)
    public(
        home="stats",
        name=f"{d.name}.{name}",
        reference=scipy_reference(d.name, name),
        samples=_samples(d, name),
    )(function)


def scipy_reference(distribution: str, name: str) -> Callable:
    """SciPy's method of that name, imported when it is called."""

    def reference(*args: Any, **kwargs: Any) -> Any:
        import scipy.stats

        # small integers would have older releases compute in float32
        args = tuple([np.asarray(a, np.float64) if getattr(a, "dtype", None) == np.int8 else a for a in args])
        return getattr(getattr(scipy.stats, distribution), name)(*args, **kwargs)

    return reference


def _samples(d: Distribution, name: str) -> tuple[Sample, ...]:
    shapes = ((5,),) * len(d.shapes)
    if d.discrete:
        counts = np.array(d.counts, np.int8)
        if name == "logsf":  # not above the last one
            counts = np.maximum(counts, 1) - 1
        return (Sample(shapes, prefix=(counts,), prepare=d.arguments),)

    if name == "ppf":

        def share(x: Any, *given: Any) -> tuple:
            values = (x, *given) if d.arguments is None else d.arguments(x, *given)
            return (0.0625 + 0.875 / (1.0 + x * x), *values[1:])

        return (Sample(((5,), *shapes), prepare=share),)

    def located(x: Any, *rest: Any) -> tuple:
        *given, loc, scale = rest
        scale = scale * scale + 0.5
        values = (x, *given) if d.arguments is None else d.arguments(x, *given)
        return (values[0] * scale + loc, *values[1:], loc, scale)

    return (
        Sample(((5,), *shapes), prepare=d.arguments),
        Sample(((2, 3), *[(3,)] * len(d.shapes), (2, 1), ()), prepare=located),
    )


def _documentation(d: Distribution, name: str) -> str:
    x, shapes = "q" if name == "ppf" else d.variable, ", ".join(d.shapes)
    lines = [METHODS[name].format(it=d.doc, x=x), "", "Parameters", "----------"]
    lines += [f"{x} : Tensor, array_like or number", "    All arguments are broadcast against each other."]
    if shapes:
        lines += [f"{shapes} : Tensor, array_like or number", "    Shape parameters, as in SciPy."]
    rest = "loc" if d.discrete else "loc, scale"
    lines += [f"{rest} : Tensor, array_like or number", "    The variable is moved by ``loc``"]
    lines[-1] += "." if d.discrete else ", after it has been multiplied by ``scale``."
    lines += ["", "Returns", "-------", "Tensor"]
    if name.startswith("log") or name in ("pdf", "pmf"):
        lines += ["    Outside of the support its derivatives are zero."]
    lines += [
        "    NaN where a parameter has no meaning.",
        "",
        "Examples",
        "--------",
        ">>> import tapegrad as tg",
    ]
    arguments = ", ".join(map(str, d.example))
    lines += [f">>> tg.stats.{d.name}.{name}({arguments}).shape", "()"]
    return "\n".join(lines) + "\n"
