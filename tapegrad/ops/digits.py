"""Numbers taken apart: quotients and remainders, fractions and exponents, divisors.

What NumPy returns in pairs are tuples here.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels import scalar as f
from tapegrad.ops.record import as_inexact, as_operand, cast, composite
from tapegrad.ops.table import POSITIVE, Domain, Sample, elementwise, ns, public
from tapegrad.spec import FLOAT64
from tapegrad.tensor import Tensor

__all__: list[str] = []

for _name, _forward, _reference, _doc in (
    ("gcd", f.gcd, np.gcd, "The greatest common divisor of `abs(x)` and `abs(y)`."),
    ("lcm", f.lcm, np.lcm, "The least common multiple of `abs(x)` and `abs(y)`."),
):
    elementwise(_name, _forward, reference=_reference, dtype="bits", doc=_doc)


def _real(x: Any, name: str) -> Tensor:
    x = as_inexact(x, name)
    if x._spec.kind == "c":
        raise TypeError(f"{name}: not defined for complex numbers")
    return x


class Quotient(NamedTuple):
    """What `divmod` returns."""

    quotient: Tensor
    remainder: Tensor


@public(
    reference=np.divmod,
    samples=[Sample(((3,), (2, 3)), domain=Domain(5.0, 6.0), args=(), differentiable=False)],
    method=False,
)
@composite
def divmod(x: Any, y: Any, /) -> Quotient:
    """`floor_divide` and `remainder` in one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.divmod(tg.tensor([7.0, -7.0]), 2.0)
    Quotient(quotient=tensor([ 3., -4.]), remainder=tensor([1., 1.]))
    """
    return Quotient(ns.floor_divide(x, y), ns.remainder(x, y))


class Parts(NamedTuple):
    """What `modf` returns."""

    fractional: Tensor
    integral: Tensor


@public(
    reference=np.modf,
    samples=[Sample(((2, 3),), domain=Domain(1.1, 1.9))],
    method=False,
    kink="1 by the rest, 0 by the whole",
)
@composite
def modf(x: Any, /) -> Parts:
    """What is behind the point and what is in front of it, both with the sign of ``x``.

    The derivative of the first is 1, that of the second 0.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.modf(tg.tensor([1.5, -2.25]))
    Parts(fractional=tensor([ 0.5000, -0.2500]), integral=tensor([ 1., -2.]))
    """
    x = _real(x, "modf")
    rest = ns.where(ns.isinf(x), ns.copysign(0.0, x), ns.fmod(x, 1.0))
    return Parts(rest, ns.trunc(x))


@public(
    reference=np.ldexp,
    samples=[Sample(((3,),), args=(4,)), Sample(((2, 3),), args=(np.array([-3, 0, 5]),))],
    method=False,
)
@composite
def ldexp(x: Any, exponent: Any, /) -> Tensor:
    """``x * 2**exponent``, exactly, for integer exponents.

    Raises
    ------
    TypeError
        If the exponents are not integers.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.ldexp(tg.tensor([1.0, 3.0]), [4, -1])
    tensor([16.0000,  1.5000])
    """
    x, e = _real(x, "ldexp"), as_operand(exponent, "ldexp")
    if e._spec.kind not in "iub":
        raise TypeError(f"ldexp: exponents must be integers, not {e._spec.dtype}")
    half = ns.floor_divide(cast(e, np.dtype("int64")), 2)  # in two steps: one could overflow
    steps = [ns.exp2(cast(n, x._spec.dtype)) for n in (half, ns.subtract(e, half))]
    return ns.multiply(ns.multiply(x, steps[0]), steps[1])


class Float(NamedTuple):
    """What `frexp` returns."""

    mantissa: Tensor
    exponent: Tensor


@public(reference=np.frexp, samples=[Sample(((2, 3),), domain=Domain(1.1, 1.9))], method=False)
@composite
def frexp(x: Any, /) -> Float:
    """Mantissas and exponents: ``x = mantissa * 2**exponent`` with ``0.5 <= abs(mantissa) < 1``.

    Zeros, infinities and NaN are their own mantissas, with exponent 0.  The derivative of the mantissa
    is ``2**-exponent``.

    Returns
    -------
    (Tensor, Tensor of int32)

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.frexp(tg.tensor([8.0, -3.0]))
    Float(mantissa=tensor([ 0.5000, -0.7500]), exponent=tensor([4, 2], dtype=int32))
    """
    x = _real(x, "frexp")
    size = ns.abs(x).detach()
    plain = ns.logical_and(ns.isfinite(size), ns.not_equal(size, 0.0))
    guess = ns.astype(ns.floor(ns.log2(ns.where(plain, size, 1.0))) + 1.0, np.int32)
    first = ldexp(size, -guess)  # the logarithm may have been rounded across an integer
    guess = guess + ns.astype(first >= 1.0, np.int32) - ns.astype(first < 0.5, np.int32)
    exponent = ns.where(plain, guess, 0)
    return Float(ldexp(x, -exponent), ns.astype(exponent, np.int32, copy=False))


@public(
    reference=np.float_power,
    samples=[Sample(((3,), (2, 3)), domain=POSITIVE, dtype="int64")],  # float64 whatever comes in
    method=False,
)
@composite
def float_power(x: Any, y: Any, /) -> Tensor:
    """The power ``x ** y`` in float64, whatever the operands are.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.float_power(tg.tensor([2, 3]), -1)
    tensor([0.5000, 0.3333])
    """
    x, y = [cast(as_operand(v, "float_power"), FLOAT64) for v in (x, y)]
    return ns.power(x, y)


@public(reference=np.logaddexp2, samples=[Sample(((3,), (2, 3)))], method=False)
@composite
def logaddexp2(x: Any, y: Any, /) -> Tensor:
    """`logaddexp` to the base 2: ``log2(2**x + 2**y)`` without overflow.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.logaddexp2(tg.tensor([3.0]), 3.0)
    tensor([4.])
    """
    ln2 = math.log(2.0)
    return ns.divide(ns.logaddexp(ns.multiply(x, ln2), ns.multiply(y, ln2)), ln2)


@public(reference=np.isposinf, samples=[], differentiable=False, method=False)
def isposinf(x: Any, /) -> Tensor:
    """Whether ``x`` is positive infinity.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.isposinf(tg.tensor([tg.inf, -tg.inf, 1.0]))
    tensor([ True, False, False])
    """
    return ns.equal(x, math.inf)


@public(reference=np.isneginf, samples=[], differentiable=False, method=False)
def isneginf(x: Any, /) -> Tensor:
    """Whether ``x`` is negative infinity.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.isneginf(tg.tensor([tg.inf, -tg.inf, 1.0]))
    tensor([False,  True, False])
    """
    return ns.equal(x, -math.inf)
