"""Elementwise primitives with derivatives: exponentials, trigonometry, error functions, activations.

Rules are written as in `ops.elementwise`.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tapegrad.kernels import scalar as f
from tapegrad.ops.record import record_elementwise
from tapegrad.ops.references import special
from tapegrad.ops.table import NONZERO, POSITIVE, REAL, UNIT, Domain, Sample, elementwise, ns, public, section
from tapegrad.tensor import Tensor

__all__ = ["polygamma", "zeta"]

LN2 = math.log(2.0)
LN10 = math.log(10.0)
DEGREE = math.pi / 180.0
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


section("exponentials and logarithms")

elementwise(
    "exp",
    f.exp,
    rules=(lambda g, out, x: g * out,),
    reference=np.exp,
    dtype="float",
    complex=True,
    doc="The exponential function.",
)
elementwise(
    "exp2",
    f.exp2,
    rules=(lambda g, out, x: g * out * LN2,),
    reference=np.exp2,
    dtype="float",
    also=("special",),
    complex=True,
    doc="`2 ** x`.",
)
elementwise(
    "expm1",
    f.expm1,
    rules=(lambda g, out, x: g * (out + 1.0),),
    reference=np.expm1,
    dtype="float",
    also=("special",),
    complex=True,
    doc="`exp(x) - 1`, accurate near 0.",
)
elementwise(
    "log",
    f.log,
    rules=(lambda g, out, x: g / x,),
    domain=(POSITIVE,),
    reference=np.log,
    dtype="float",
    guarded=True,
    complex=True,
    doc="The natural logarithm.",
)
elementwise(
    "log1p",
    f.log1p,
    rules=(lambda g, out, x: g / (1.0 + x),),
    domain=(Domain(-1.0),),
    reference=np.log1p,
    dtype="float",
    guarded=True,
    also=("special",),
    complex=True,
    doc="`log(1 + x)`, accurate near 0.",
)
elementwise(
    "log2",
    f.log2,
    rules=(lambda g, out, x: g / (x * LN2),),
    domain=(POSITIVE,),
    reference=np.log2,
    dtype="float",
    guarded=True,
    complex=True,
    doc="The logarithm to base 2.",
)
elementwise(
    "log10",
    f.log10,
    rules=(lambda g, out, x: g / (x * LN10),),
    domain=(POSITIVE,),
    reference=np.log10,
    dtype="float",
    guarded=True,
    complex=True,
    doc="The logarithm to base 10.",
)
# Equal infinities have no difference; the choice leaves every finite tie to the formula, whose
# own derivative is then right as well.
elementwise(
    "logaddexp",
    f.logaddexp,
    rules=(
        lambda g, out, x, y: (
            g * f.sigmoid(f.where((x == y) & f.isinf(x), 0.0, x) - f.where((x == y) & f.isinf(x), 0.0, y))
        ),
        lambda g, out, x, y: (
            g * f.sigmoid(f.where((x == y) & f.isinf(x), 0.0, y) - f.where((x == y) & f.isinf(x), 0.0, x))
        ),
    ),
    reference=np.logaddexp,
    dtype="float",
    doc="`log(exp(x) + exp(y))` without overflow.",
)
elementwise(
    "xlogy",
    f.xlogy,
    rules=(
        lambda g, out, x, y: g * f.log(f.where((x == 0.0) & (y <= 0.0), 1.0, y)),
        lambda g, out, x, y: g * (x / f.where((x == 0.0) & (y == 0.0), 1.0, y)),
    ),
    domain=(REAL, POSITIVE),
    reference=special("xlogy"),
    dtype="float",
    guarded=True,
    also=("special",),
    kink="0 at 0",
    doc="`x * log(y)`, and 0 where `x` is 0.",
)
elementwise(
    "xlog1py",
    f.xlog1py,
    rules=(
        lambda g, out, x, y: g * f.log1p(f.where((x == 0.0) & (y <= -1.0), 0.0, y)),
        lambda g, out, x, y: g * (x / (1.0 + f.where((x == 0.0) & (y == -1.0), 0.0, y))),
    ),
    domain=(REAL, Domain(-1.0)),
    reference=special("xlog1py"),
    dtype="float",
    guarded=True,
    also=("special",),
    kink="0 at x = 0, y = -1",
    doc="`x * log1p(y)`, and 0 where `x` is 0.",
)

section("trigonometry")

elementwise(
    "sin",
    f.sin,
    rules=(lambda g, out, x: g * f.cos(x),),
    reference=np.sin,
    dtype="float",
    complex=True,
    doc="The sine.",
)
elementwise(
    "cos",
    f.cos,
    rules=(lambda g, out, x: -g * f.sin(x),),
    reference=np.cos,
    dtype="float",
    complex=True,
    doc="The cosine.",
)
elementwise(
    "tan",
    f.tan,
    rules=(lambda g, out, x: g * (1.0 + out * out),),
    domain=(Domain(-1.5, 1.5),),
    reference=np.tan,
    dtype="float",
    complex=True,
    doc="The tangent.",
)
elementwise(
    "asin",
    f.asin,
    rules=(lambda g, out, x: g / f.sqrt((1.0 - x) * (1.0 + x)),),
    domain=(UNIT,),
    reference=np.arcsin,
    dtype="float",
    aliases=("arcsin",),
    guarded=True,
    complex=True,
    doc="The inverse sine.",
)
elementwise(
    "acos",
    f.acos,
    rules=(lambda g, out, x: -g / f.sqrt((1.0 - x) * (1.0 + x)),),
    domain=(UNIT,),
    reference=np.arccos,
    dtype="float",
    aliases=("arccos",),
    guarded=True,
    complex=True,
    doc="The inverse cosine.",
)
elementwise(
    "atan",
    f.atan,
    rules=(lambda g, out, x: g / (1.0 + x * x),),
    reference=np.arctan,
    dtype="float",
    aliases=("arctan",),
    complex=True,
    doc="The inverse tangent.",
)
elementwise(
    "atan2",
    f.atan2,
    rules=(
        lambda g, out, x, y: g * (y / f.where((x == 0.0) & (y == 0.0), 1.0, x * x + y * y)),
        lambda g, out, x, y: -g * (x / f.where((x == 0.0) & (y == 0.0), 1.0, x * x + y * y)),
    ),
    domain=(NONZERO, NONZERO),
    reference=np.arctan2,
    dtype="float",
    aliases=("arctan2",),
    guarded=True,
    kink="0 at 0",
    doc="The angle of the point `(y, x)` from the positive axis.",
)
elementwise(
    "deg2rad",
    f.deg2rad,
    rules=(lambda g, out, x: g * DEGREE,),
    reference=np.deg2rad,
    dtype="float",
    aliases=("radians",),
    doc="Degrees in radians.",
)
elementwise(
    "rad2deg",
    f.rad2deg,
    rules=(lambda g, out, x: g * (1.0 / DEGREE),),
    reference=np.rad2deg,
    dtype="float",
    aliases=("degrees",),
    doc="Radians in degrees.",
)

section("hyperbolic functions")

elementwise(
    "sinh",
    f.sinh,
    rules=(lambda g, out, x: g * f.cosh(x),),
    reference=np.sinh,
    dtype="float",
    complex=True,
    doc="The hyperbolic sine.",
)
elementwise(
    "cosh",
    f.cosh,
    rules=(lambda g, out, x: g * f.sinh(x),),
    reference=np.cosh,
    dtype="float",
    complex=True,
    doc="The hyperbolic cosine.",
)
elementwise(
    "tanh",
    f.tanh,
    rules=(lambda g, out, x: g * (1.0 - out * out),),
    reference=np.tanh,
    dtype="float",
    complex=True,
    doc="The hyperbolic tangent.",
)
elementwise(
    "asinh",
    f.asinh,
    rules=(lambda g, out, x: g / f.sqrt(x * x + 1.0),),
    reference=np.arcsinh,
    dtype="float",
    aliases=("arcsinh",),
    complex=True,
    doc="The inverse hyperbolic sine.",
)
elementwise(
    "acosh",
    f.acosh,
    rules=(lambda g, out, x: g / (f.sqrt(x - 1.0) * f.sqrt(x + 1.0)),),
    domain=(Domain(1.0),),
    reference=np.arccosh,
    dtype="float",
    aliases=("arccosh",),
    guarded=True,
    complex=True,
    doc="The inverse hyperbolic cosine.",
)
elementwise(
    "atanh",
    f.atanh,
    rules=(lambda g, out, x: g / ((1.0 - x) * (1.0 + x)),),
    domain=(UNIT,),
    reference=np.arctanh,
    dtype="float",
    aliases=("arctanh",),
    guarded=True,
    complex=True,
    doc="The inverse hyperbolic tangent.",
)

section("error functions")

elementwise(
    "erf",
    f.erf,
    rules=(lambda g, out, x: g * (TWO_OVER_SQRT_PI * f.exp(-(x * x))),),
    reference=special("erf"),
    dtype="float",
    also=("special",),
    doc="The error function.",
)
elementwise(
    "erfc",
    f.erfc,
    rules=(lambda g, out, x: -g * (TWO_OVER_SQRT_PI * f.exp(-(x * x))),),
    reference=special("erfc"),
    dtype="float",
    also=("special",),
    doc="The complementary error function `1 - erf(x)`, accurate in its tail.",
)
elementwise(
    "ndtr",
    f.ndtr,
    rules=(lambda g, out, x: g * (INV_SQRT_2PI * f.exp(-0.5 * (x * x))),),
    reference=special("ndtr"),
    dtype="float",
    also=("special",),
    doc="The distribution function of the standard normal distribution.",
)

section("the gamma function")

elementwise(
    "lgamma",
    f.lgamma,
    rules=(lambda g, out, x: g * f.digamma(x),),
    domain=(POSITIVE,),
    reference=special("gammaln"),
    dtype="float",
    aliases=("gammaln",),
    guarded=True,
    also=("special",),
    doc="The logarithm of the absolute value of the gamma function.",
)
elementwise(
    "digamma",
    f.digamma,
    rules=(lambda g, out, x: g * f.trigamma(x),),
    domain=(POSITIVE,),
    reference=special("psi"),
    dtype="float",
    aliases=("psi",),
    guarded=True,
    also=("special",),
    doc="The derivative of `lgamma`.",
)
elementwise(
    "trigamma",
    f.trigamma,
    rules=(lambda g, out, x: -2.0 * g * f.zeta(3.0, x),),
    domain=(POSITIVE,),
    reference=special("polygamma", lambda scipy, x: scipy.polygamma(1, x)),
    dtype="float",
    guarded=True,
    doc="The derivative of `digamma`.",
)
ZETA = elementwise(
    "zeta",
    f.zeta,
    rules=(None, lambda g, out, x, y: -g * x * f.zeta(x + 1.0, y)),
    domain=(Domain(1.0), POSITIVE),
    reference=special("zeta"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The Hurwitz zeta function, the sum of `(y + k) ** -x` over `k` from 0.",
)


@public(
    reference=special("zeta"),
    samples=(
        Sample(((5,),), prefix=(2.0,), domain=POSITIVE),
        Sample(((2, 3),), prefix=(3.5,), domain=POSITIVE),
        Sample(((3,),), domain=Domain(1.0), differentiable=False),
    ),
    method=False,
    also=("special",),
)
def zeta(x: Any, q: Any = None, /) -> Tensor:
    """Hurwitz zeta function, the sum of ``(q + k) ** -x`` over ``k = 0, 1, ...``.

    Parameters
    ----------
    x : Tensor, array_like or number
        Exponent, at least 1 (1 gives infinity, less NaN).  There is no derivative by it.
    q : Tensor, array_like or number, optional
        First term, 1 by default: Riemann's function.  Where negative, ``x`` has to be an integer
        (otherwise NaN).

    Returns
    -------
    Tensor
        Of the promoted dtype; integers are computed as float64.

    Raises
    ------
    ValueError
        If the shapes do not broadcast, or ``x`` requires grad.

    Notes
    -----
    By the formula of Euler and Maclaurin, NIST DLMF 25.11.28.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.zeta(2.0, tg.tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """
    if isinstance(x, Tensor) and x.requires_grad:
        raise ValueError(
            f"zeta: there is no derivative by x (shape {x.shape}), which requires grad; call detach() on it"
        )
    return record_elementwise(ZETA, (x, 1.0 if q is None else q))


@public(
    reference=special("polygamma"),
    samples=(
        Sample(((5,),), prefix=(1,), domain=POSITIVE),
        Sample(((2, 3),), prefix=(2,), domain=POSITIVE),
        Sample(((4,),), prefix=(0,), domain=POSITIVE),
    ),
    method=False,
    also=("special",),
)
def polygamma(n: int, x: Any, /) -> Tensor:
    """Derivative of order ``n`` of `digamma`.

    Parameters
    ----------
    n : int
        Order, not negative.
    x : Tensor, array_like or number
        Argument, any shape.

    Returns
    -------
    Tensor
        Floating; integers are computed as float64.

    Raises
    ------
    TypeError
        If ``n`` is not an integer.
    ValueError
        If ``n`` is negative.

    Notes
    -----
    ``(-1) ** (n + 1) * n! * zeta(n + 1, x)``, NIST DLMF 25.11.12.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polygamma(1, tg.tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"polygamma: the order must be an integer, not {type(n).__name__}") from None
    if n < 0:
        raise ValueError(f"polygamma: the order must not be negative, it is {n}")
    if n < 2:
        return ns.trigamma(x) if n else ns.digamma(x)
    factor = math.gamma(n + 1.0) if n <= 170 else math.inf
    return (factor if n % 2 else -factor) * zeta(n + 1.0, x)


section("activations")

elementwise(
    "sigmoid",
    f.sigmoid,
    rules=(lambda g, out, x: g * out * (1.0 - out),),
    reference=special("expit"),
    dtype="float",
    aliases=("expit",),
    also=("special",),
    complex=True,
    doc="The logistic function `1 / (1 + exp(-x))`.",
)
elementwise(
    "logit",
    f.logit,
    rules=(lambda g, out, x: g / (x * (1.0 - x)),),
    domain=(Domain(0.0, 1.0),),
    reference=special("logit"),
    dtype="float",
    guarded=True,
    also=("special",),
    doc="The inverse of `sigmoid`, `log(x / (1 - x))`.",
)
elementwise(
    "softplus",
    f.softplus,
    rules=(lambda g, out, x: g * f.sigmoid(x),),
    reference=lambda x: np.logaddexp(x, 0.0),
    dtype="float",
    also=("special",),
    doc="`log(1 + exp(x))` without overflow.",
)
elementwise(
    "log_sigmoid",
    f.log_sigmoid,
    rules=(lambda g, out, x: g * f.sigmoid(-x),),
    reference=special("log_expit"),
    dtype="float",
    aliases=("logsigmoid", "log_expit"),
    also=("special",),
    doc="The logarithm of `sigmoid`, without underflow.",
)
elementwise(
    "relu",
    f.relu,
    rules=(lambda g, out, x: f.where(x <= 0.0, 0.0, g),),
    domain=(NONZERO,),
    reference=lambda x: np.maximum(x, 0),
    kink="0 at 0",
    doc="`x` where positive, else 0.",
)
elementwise(
    "silu",
    f.silu,
    rules=(lambda g, out, x: g * (f.sigmoid(x) * (1.0 + x * f.sigmoid(-x))),),
    reference=special("silu", lambda scipy, x: x * scipy.expit(x)),
    dtype="float",
    aliases=("swish",),
    doc="`x * sigmoid(x)`.",
)
elementwise(
    "gelu",
    f.gelu,
    rules=(lambda g, out, x: g * (f.ndtr(x) + x * (INV_SQRT_2PI * f.exp(-0.5 * (x * x)))),),
    reference=special("gelu", lambda scipy, x: x * scipy.ndtr(x)),
    dtype="float",
    doc="`x * ndtr(x)` (the exact form, by the error function).",
)
