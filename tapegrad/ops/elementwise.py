"""Elementwise primitives with derivatives: arithmetic, choosing, rounding, powers.

A rule is an expression in ``f`` (`kernels.scalar`) and Python's arithmetic: Numba compiles it, and
with ``f`` bound to tapegrad's functions it records.  Hence no ``if``; `f.where` chooses.  Where one
side of a choice can be infinite, its *argument* is made harmless as well, because the derivative of
a rule runs through both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.kernels import scalar as f
from tapegrad.ops.axes import also_named
from tapegrad.ops.record import as_inexact, as_operand, cast, composite, record_elementwise
from tapegrad.ops.table import NONZERO, POSITIVE, REAL, ROWS, Domain, Sample, elementwise, ns, public, section
from tapegrad.spec import result_dtype
from tapegrad.tensor import Tensor

__all__ = ["clip", "where"]

# --- what a complex operand turns into ------------------------------------------------------------


def _modulus(x: Tensor) -> Tensor:
    return ns.hypot(ns.real(x), ns.imag(x))


def _direction(x: Tensor) -> Tensor:
    size = _modulus(x)
    size = ns.where(ns.equal(size, 0.0), 1.0, size)
    return ns.complex(ns.real(x) / size + 0.0, ns.imag(x) / size + 0.0)  # both zeros give 0


section("arithmetic")

elementwise(
    "add",
    f.add,
    rules=(lambda g, out, x, y: g, lambda g, out, x, y: g),
    reference=np.add,
    operator="add",
    complex=True,
    doc="The sum `x + y`.",
)
elementwise(
    "subtract",
    f.subtract,
    rules=(lambda g, out, x, y: g, lambda g, out, x, y: -g),
    reference=np.subtract,
    aliases=("sub",),
    operator="sub",
    complex=True,
    doc="The difference `x - y`.",
)
elementwise(
    "multiply",
    f.multiply,
    rules=(lambda g, out, x, y: g * y, lambda g, out, x, y: g * x),
    reference=np.multiply,
    aliases=("mul",),
    operator="mul",
    complex=True,
    doc="The product `x * y`.",
)
elementwise(
    "divide",
    f.divide,
    rules=(lambda g, out, x, y: g / y, lambda g, out, x, y: -(g / y) * out),
    domain=(REAL, NONZERO),
    reference=np.true_divide,
    dtype="float",
    aliases=("div", "true_divide"),
    operator="truediv",
    guarded=True,
    complex=True,
    doc="The quotient `x / y`; integers are divided as float64.",
)
elementwise(
    "floor_divide",
    f.floor_divide,
    rules=(lambda g, out, x, y: f.zeros_like(g), lambda g, out, x, y: f.zeros_like(g)),
    domain=(Domain(5.0, 6.0), Domain(2.1, 2.4)),
    reference=np.floor_divide,
    operator="floordiv",
    kink="0 everywhere",
    doc="The quotient rounded down; integers divided by zero give 0.",
)
elementwise(
    "remainder",
    f.remainder,
    rules=(lambda g, out, x, y: g, lambda g, out, x, y: -g * f.floor_divide(x, y)),
    domain=(Domain(5.0, 6.0), Domain(2.1, 2.4)),
    reference=np.remainder,
    aliases=("mod",),
    operator="mod",
    guarded=True,
    kink="where it jumps, that of the piece with the value",
    doc="What `floor_divide` leaves, with the sign of `y`; integers modulo zero give 0.",
)
elementwise(
    "fmod",
    f.fmod,
    rules=(lambda g, out, x, y: g, lambda g, out, x, y: -g * f.trunc(x / y)),
    domain=(Domain(-6.0, -5.0), Domain(2.1, 2.4)),
    reference=np.fmod,
    guarded=True,
    kink="where it jumps, that of the piece with the value",
    doc="The remainder of division rounded toward zero, with the sign of `x` (C's fmod).",
)
elementwise(
    "negative",
    f.negative,
    rules=(lambda g, out, x: -g,),
    reference=np.negative,
    aliases=("neg",),
    operator="neg",
    complex=True,
    doc="The negative `-x`.",
)
elementwise(
    "positive",
    f.identity,
    rules=(lambda g, out, x: g,),
    reference=np.positive,
    operator="pos",
    complex=True,
    doc="The same value, `+x`.",
)
elementwise(
    "reciprocal",
    f.reciprocal,
    rules=(lambda g, out, x: -g * out * out,),
    domain=(NONZERO,),
    reference=np.reciprocal,
    dtype="float",
    guarded=True,
    complex=True,
    doc="The reciprocal `1 / x`.",
)
elementwise(
    "square",
    f.square,
    rules=(lambda g, out, x: 2.0 * g * x,),
    reference=np.square,
    complex=True,
    doc="The square `x * x`.",
)

section("powers and roots")

# At x = 0 the derivative by x is 0 where y = 0, and the derivative by y is 0 where y >= 0.
elementwise(
    "power",
    f.power,
    rules=(
        lambda g, out, x, y: g * y * f.power(f.where((x == 0.0) & (y == 0.0), 1.0, x), y - 1.0),
        lambda g, out, x, y: g * out * f.log(f.where((x == 0.0) & f.not_negative(y), 1.0, x)),
    ),
    domain=(POSITIVE, REAL),
    reference=np.power,
    aliases=("pow",),
    operator="pow",
    guarded=True,
    complex=True,
    doc="The power `x ** y`.",
)
elementwise(
    "sqrt",
    f.sqrt,
    rules=(lambda g, out, x: 0.5 * g / out,),
    domain=(POSITIVE,),
    reference=np.sqrt,
    dtype="float",
    guarded=True,
    complex=True,
    doc="The square root.",
)
elementwise(
    "rsqrt",
    f.rsqrt,
    rules=(lambda g, out, x: -0.5 * g * out / x,),
    domain=(POSITIVE,),
    reference=lambda x: 1 / np.sqrt(x),
    dtype="float",
    guarded=True,
    complex=True,
    doc="The reciprocal of the square root.",
)
elementwise(
    "cbrt",
    f.cbrt,
    rules=(lambda g, out, x: g / (3.0 * out * out),),
    domain=(NONZERO,),
    reference=np.cbrt,
    dtype="float",
    guarded=True,
    also=("special",),
    doc="The cube root.",
)
elementwise(
    "hypot",
    f.hypot,
    rules=(
        lambda g, out, x, y: g * (x / f.where(out == 0.0, 1.0, out)),
        lambda g, out, x, y: g * (y / f.where(out == 0.0, 1.0, out)),
    ),
    domain=(NONZERO, NONZERO),
    reference=np.hypot,
    dtype="float",
    guarded=True,
    kink="0 at 0",
    doc="The length `sqrt(x**2 + y**2)` without overflow.",
)

section("signs and rounding")

elementwise(
    "abs",
    f.abs,
    rules=(lambda g, out, x: g * f.sign(x),),
    domain=(NONZERO,),
    reference=np.absolute,
    aliases=("absolute", "fabs"),
    operator="abs",
    complex=_modulus,
    kink="0 at 0",
    doc="The absolute value.",
)
elementwise(
    "sign",
    f.sign,
    rules=(lambda g, out, x: f.zeros_like(g),),
    domain=(NONZERO,),
    reference=np.sign,
    aliases=("sgn",),
    complex=_direction,
    kink="0 everywhere",
    doc="-1, 0 or 1 by the sign; NaN for NaN.",
)
elementwise(
    "copysign",
    f.copysign,
    rules=(
        lambda g, out, x, y: g * f.sign(x) * f.copysign(1.0, y),
        lambda g, out, x, y: f.zeros_like(g),
    ),
    domain=(NONZERO, NONZERO),
    reference=np.copysign,
    dtype="float",
    kink="0 at 0",
    doc="The magnitude of `x` with the sign of `y`.",
)
for _name, _forward, _reference, _aliases, _doc in (
    ("floor", f.floor, np.floor, (), "The largest integer not above `x`."),
    ("ceil", f.ceil, np.ceil, (), "The smallest integer not below `x`."),
    ("trunc", f.trunc, np.trunc, ("fix",), "The integer part: `x` rounded toward zero."),
    ("round", f.round, np.rint, (), "The nearest integer, ties to even."),
):
    elementwise(
        _name,
        _forward,
        rules=(lambda g, out, x: f.zeros_like(g),),
        domain=(Domain(-0.98, 0.98, avoid=(-0.5, 0.0, 0.5)),),
        reference=_reference,
        aliases=_aliases,
        complex=_name == "round",
        public=_name != "round",  # below
        kink="0 everywhere",
        doc=f"{_doc} Integers stay as they are.",
    )
elementwise(
    "heaviside",
    f.heaviside,
    rules=(
        lambda g, out, x, y: f.zeros_like(g),
        lambda g, out, x, y: f.where(x == 0.0, g, 0.0),
    ),
    domain=(NONZERO, REAL),
    reference=np.heaviside,
    dtype="float",
    kink="0 by x, everywhere",
    doc="The step function: 0 for negative `x`, 1 for positive, `y` at 0.",
)

section("choosing")

# Ties share the cotangent; with a NaN, which wins, neither operand is less and both receive it.
elementwise(
    "maximum",
    f.maximum,
    rules=(
        lambda g, out, x, y: f.where(x == y, 0.5 * g, f.where(x < y, 0.0, g)),
        lambda g, out, x, y: f.where(x == y, 0.5 * g, f.where(x > y, 0.0, g)),
    ),
    reference=np.maximum,
    kink="ties share evenly",
    doc="The larger of two; NaN if either is.",
)
elementwise(
    "minimum",
    f.minimum,
    rules=(
        lambda g, out, x, y: f.where(x == y, 0.5 * g, f.where(x > y, 0.0, g)),
        lambda g, out, x, y: f.where(x == y, 0.5 * g, f.where(x < y, 0.0, g)),
    ),
    reference=np.minimum,
    kink="ties share evenly",
    doc="The smaller of two; NaN if either is.",
)
elementwise(
    "fmax",
    f.fmax,
    rules=(
        lambda g, out, x, y: f.where(x == y, 0.5 * g, f.where((x > y) | (y != y), g, 0.0)),
        lambda g, out, x, y: f.where(x == y, 0.5 * g, f.where((x > y) | (y != y), 0.0, g)),
    ),
    reference=np.fmax,
    kink="ties share evenly",
    doc="The larger of two, ignoring NaN.",
)
elementwise(
    "fmin",
    f.fmin,
    rules=(
        lambda g, out, x, y: f.where(x == y, 0.5 * g, f.where((x < y) | (y != y), g, 0.0)),
        lambda g, out, x, y: f.where(x == y, 0.5 * g, f.where((x < y) | (y != y), 0.0, g)),
    ),
    reference=np.fmin,
    kink="ties share evenly",
    doc="The smaller of two, ignoring NaN.",
)
WHERE = elementwise(
    "where",
    f.where,
    rules=(
        None,
        lambda g, out, x, y, z: f.where(x, g, 0.0),
        lambda g, out, x, y, z: f.where(x, 0.0, g),
    ),
    reference=np.where,
    dtype="where",
    typed_by=1,
    public=False,
    complex=True,
    doc="`y` where `x` is true, else `z`.",
)
UNLESS_ZERO = elementwise(
    "unless_zero",
    f.unless_zero,
    rules=(lambda g, out, x, y: f.zeros_like(g), lambda g, out, x, y: f.where(x == 0.0, 0.0, g)),
    domain=(NONZERO, REAL),
    reference=lambda x, y: np.where(np.equal(x, 0), np.zeros_like(y), y),
    public=False,
    complex=True,
    doc="`y`, but 0 where `x` is 0: a cotangent of zero contributes zero whatever the derivative is.",
)
CLIP = elementwise(
    "clip",
    f.clip,
    rules=(
        lambda g, out, x, y, z: f.where((x < y) | (x > z), 0.0, g),
        lambda g, out, x, y, z: f.where((x < y) & (y <= z), g, 0.0),
        lambda g, out, x, y, z: f.where((x > z) | (y > z), g, 0.0),
    ),
    domain=(Domain(-2.0, 2.0), Domain(-1.0, -0.5), Domain(0.5, 1.0)),
    reference=np.clip,
    public=False,
    kink="1 on the ends of the interval",
    doc="`x` confined to the interval from `y` to `z`.",
)


@public(
    reference=np.where,
    samples=(
        Sample(((3,), (3,)), prefix=(np.array([True, False, True]),)),
        Sample(((2, 3), (3,)), prefix=(np.array([[True], [False]]),)),
    ),
    method=False,
    kink="0 by what is not chosen",
)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """Choose elements of ``x`` where a condition is true, of ``y`` elsewhere.

    Parameters
    ----------
    condition : Tensor, array_like or number
        Tested for truth; the three broadcast against each other.
    x, y : Tensor, array_like or number, optional
        Both or neither.  Dtypes are promoted.

    Returns
    -------
    Tensor
        Without ``x`` and ``y``: what `nonzero` returns, one integer tensor per axis.

    Raises
    ------
    ValueError
        If the shapes do not broadcast, or one of ``x`` and ``y`` is missing.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.where(tg.tensor([True, False]), tg.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    >>> tg.where(tg.tensor([True, False]))
    (tensor([0]),)
    """
    if x is not None and y is not None:
        return record_elementwise(WHERE, (condition, x, y), 1)
    if x is not None or y is not None:
        raise ValueError("where: either both or neither of x and y should be given")
    return ns.nonzero(condition)


section("signs and rounding")

ROUNDED = Domain(0.52, 0.98)


@public(
    reference=np.round,
    samples=(
        Sample(((3, 4),), domain=ROUNDED),
        Sample(((3,),), {"decimals": 1}, domain=Domain(0.06, 0.14)),
        Sample(((3,),), {"decimals": -1}, domain=Domain(6.0, 14.0)),
    ),
    aliases=("around",),
)
@composite
def round(x: Any, /, decimals: int = 0) -> Tensor:
    """The nearest integer, ties to even, or the nearest number of so many decimals.  Derivative 0.

    Parameters
    ----------
    decimals : int
        Negative for places in front of the point.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.round(tg.tensor([0.5, 1.26]), 1)
    tensor([0.5000, 1.3000])
    """
    x = as_operand(x, "round")
    if decimals == 0 or (decimals > 0 and x._spec.kind in "biu"):
        return record_elementwise(ROWS["round"], (x,), 2)
    scale = 10.0 ** abs(decimals)
    shift, back = (ns.multiply, ns.divide) if decimals > 0 else (ns.divide, ns.multiply)
    return cast(back(record_elementwise(ROWS["round"], (shift(x, scale),)), scale), x._spec.dtype)


@public(reference=np.rint, samples=(Sample(((3, 4),), domain=ROUNDED),))
def rint(x: Any, /) -> Tensor:
    """The nearest integer, ties to even; floating (integers become float64).  Derivative 0.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.rint(tg.tensor([0.5, 1.5, 1.7]))
    tensor([0., 2., 2.])
    """
    return record_elementwise(ROWS["round"], (as_inexact(x, "rint"),))


def _clip(x: Any, min: Any = None, max: Any = None) -> Any:
    return np.clip(x, min, max)  # by position: the keywords min and max came with NumPy 2.1


_clip.stands_for = np.clip  # type: ignore[attr-defined]


@public(
    reference=_clip,
    samples=(
        Sample(((7,),), {"min": -0.5, "max": 0.75}, domain=Domain(avoid=(-0.5, 0.75))),
        Sample(((2, 3),), {"max": 0.25}, domain=Domain(avoid=(0.25,))),
    ),
    aliases=("clamp",),
)
@also_named(a_min="min", a_max="max")
@composite
def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """Confine values to an interval.

    Parameters
    ----------
    x : Tensor, array_like or number
        Values, any shape.
    min, max : Tensor, array_like, number or None
        Ends of the interval; they broadcast against ``x``.  ``None``: no bound.

    Returns
    -------
    Tensor
        ``minimum(maximum(x, min), max)``, of the operands' promoted dtype; NaN stays NaN.  The
        derivative by ``x`` is 1 inside the interval *and on its ends*, 0 outside.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.clip(tg.tensor([-2.0, 0.5, 2.0]), -1.0, 1.0)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    x = as_operand(x, "clip")
    if min is None and max is None:
        return record_elementwise(ROWS["positive"], (x,), 2)
    if min is None or max is None:
        # an unbounded side is the dtype's own end: one row, and derivative 1 at the other end
        given = max if min is None else min
        given = given if type(given) in (bool, int, float) else as_operand(given, "clip")
        dtype = result_dtype(x.dtype, given.dtype if isinstance(given, Tensor) else given)
        if dtype.kind in "fc":  # of complex numbers the row itself says that it does not take them
            low, high = -np.inf, np.inf
        elif dtype.kind == "b":
            low, high = False, True
        else:
            low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        min, max = (low, given) if min is None else (given, high)
    return record_elementwise(CLIP, (x, min, max), 2)
