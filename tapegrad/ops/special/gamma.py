"""The gamma and beta functions, and what is made of them."""

from __future__ import annotations

import math
from typing import Any

from tapegrad.kernels import scalar as f
from tapegrad.ops.record import as_floating, composite
from tapegrad.ops.references import special
from tapegrad.ops.table import POSITIVE, Domain, Sample, elementwise, ns, public
from tapegrad.tensor import Tensor

__all__ = ["factorial", "multigammaln", "rgamma"]

elementwise(
    "gamma",
    f.gamma,
    rules=(lambda g, out, x: g * (out * f.digamma(x)),),
    domain=(Domain(0.0, 6.0),),
    reference=special("gamma"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The gamma function; infinite at 0, NaN at negative integers.",
)
# A cotangent of zero is no reason to leave its derivative out: for formulas whose other factors have zeros.
elementwise(
    "gamma_above",
    f.gamma,
    rules=(lambda g, out, x: g * (out * f.digamma(x)),),
    domain=(POSITIVE,),
    reference=special("gamma"),
    dtype="float",
    public=False,
    doc="The gamma function of positive numbers.",
)
elementwise(
    "gammasgn",
    f.gammasgn,
    rules=(lambda g, out, x: f.zeros_like(g),),
    domain=(Domain(-0.98, 0.98, avoid=(0.0,)),),
    reference=special("gammasgn"),
    dtype="float",
    home="special",
    kink="0 everywhere",
    doc="The sign of the gamma function. Derivative 0.",
)
elementwise(
    "betaln",
    f.betaln,
    rules=(lambda g, out, x, y: -g * f.psi_step(x, y), lambda g, out, x, y: -g * f.psi_step(y, x)),
    domain=(POSITIVE, POSITIVE),
    reference=special("betaln"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""The logarithm of the absolute value of `beta`.

    Nothing cancels where arguments are large, in values or derivatives (Didonato and Morris 1992).""",
)
elementwise(
    "beta",
    f.beta,
    rules=(
        lambda g, out, x, y: -g * (out * f.psi_step(x, y)),
        lambda g, out, x, y: -g * (out * f.psi_step(y, x)),
    ),
    domain=(POSITIVE, POSITIVE),
    reference=special("beta"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The beta function `gamma(x) * gamma(y) / gamma(x + y)`.",
)
elementwise(
    "lgamma_step",
    f.lgamma_step,
    rules=(lambda g, out, x, y: g * f.psi_step(x, y), lambda g, out, x, y: g * f.digamma(x + y)),
    domain=(POSITIVE, POSITIVE),
    reference=special("lgamma_step", lambda scipy, x, y: scipy.gammaln(x + y) - scipy.gammaln(x)),
    dtype="float",
    guarded=True,
    public=False,
    doc="`lgamma(x + y) - lgamma(x)`, all digits of it.",
)
elementwise(
    "psi_step",
    f.psi_step,
    rules=(
        lambda g, out, x, y: g * f.trigamma_step(x, y),
        lambda g, out, x, y: g * f.trigamma(x + y),
    ),
    domain=(POSITIVE, POSITIVE),
    reference=special("psi_step", lambda scipy, x, y: scipy.psi(x + y) - scipy.psi(x)),
    dtype="float",
    guarded=True,
    public=False,
    doc="`digamma(x + y) - digamma(x)`, all digits of it.",
)
elementwise(
    "trigamma_step",
    f.trigamma_step,
    rules=(
        lambda g, out, x, y: -2.0 * g * (f.zeta(3.0, x + y) - f.zeta(3.0, x)),
        lambda g, out, x, y: -2.0 * g * f.zeta(3.0, x + y),
    ),
    domain=(POSITIVE, POSITIVE),
    reference=special("trigamma_step", lambda scipy, x, y: scipy.polygamma(1, x + y) - scipy.polygamma(1, x)),
    dtype="float",
    guarded=True,
    public=False,
    doc="`trigamma(x + y) - trigamma(x)`, all digits of it.",
)
elementwise(
    "poch",
    f.poch,
    rules=(
        lambda g, out, x, y: g * (out * f.psi_step(x, y)),
        lambda g, out, x, y: g * (out * f.digamma(x + y)),
    ),
    domain=(POSITIVE, POSITIVE),
    reference=special("poch"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""Pochhammer's symbol, the rising factorial `gamma(x + y) / gamma(x)`.

    At poles of either gamma function the derivative is NaN.""",
)
elementwise(
    "binom",
    f.binom,
    rules=(
        lambda g, out, x, y: g * (out * f.psi_step(x - y + 1.0, y)),
        lambda g, out, x, y: g * (out * f.psi_step(y + 1.0, x - 2.0 * y)),
    ),
    domain=(Domain(3.0), Domain(0.0, 3.0)),
    reference=special("binom"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""Binomial coefficients, for real arguments by the gamma function: of `x` things, `y` are taken.

    NaN for negative integers `x`.""",
)

# --- made of them ---------------------------------------------------------------------------------


@public(
    reference=special("rgamma"),
    samples=(Sample(((7,),)), Sample(((2, 3),), domain=POSITIVE)),
    method=False,
    home="special",
)
@composite
def rgamma(x: Any, /) -> Tensor:
    """The reciprocal of the gamma function, 0 where that has poles; derivatives there are right, too.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.rgamma(tg.tensor([0.0, 1.0, 3.0])).tolist()
    [0.0, 1.0, 0.5]

    Notes
    -----
    Below 1/2 by reflection: ``sin(pi x) gamma(1 - x) / pi``.
    """
    (x,) = as_floating("rgamma", x)
    low = ns.less(x, 0.5)
    a = ns.where(low, x, 0.0)
    turned = a * ns.sinc(a) * ns.gamma_above(1.0 - a)
    zero = ns.logical_and(ns.less(a, -169.0), ns.equal(ns.floor(a), a))  # the other factor overflows
    turned = ns.where(zero, 0.0, turned)
    return ns.where(low, turned, 1.0 / ns.gamma(ns.where(low, 1.0, x)))


@public(
    reference=special("factorial"),
    samples=(Sample(((5,),), domain=POSITIVE), Sample(((2, 3),))),
    method=False,
    home="special",
)
@composite
def factorial(n: Any, exact: bool = False) -> Tensor:
    """``n!``, for real numbers ``gamma(n + 1)``, and 0 for negative ones.

    Parameters
    ----------
    n : Tensor, array_like or number
    exact : bool
        Only ``False``; results are exact nevertheless up to ``20!``.

    Raises
    ------
    ValueError
        If ``exact`` is true: tensors hold no integers of any size.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.factorial([3, 10, -1]).tolist()
    [6.0, 3628800.0, 0.0]
    """
    if exact:
        raise ValueError("factorial: exact=True is not supported")
    (n,) = as_floating("factorial", n)
    negative = ns.less(n, 0.0)
    return ns.where(negative, 0.0, ns.gamma(ns.where(negative, 1.0, n + 1.0)))


@public(
    reference=special("multigammaln", lambda scipy, a, d: scipy.multigammaln(a, d)),
    samples=(Sample(((5,),), args=(1,), domain=POSITIVE), Sample(((2, 3),), args=(3,), domain=Domain(1.0))),
    method=False,
    home="special",
)
@composite
def multigammaln(a: Any, d: Any) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``d``.

    Parameters
    ----------
    a : Tensor, array_like or number
        More than ``(d - 1) / 2``, otherwise the result is NaN.
    d : int
        Dimension, at least 1.

    Raises
    ------
    ValueError
        If ``d`` is not a positive integer.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.multigammaln(tg.tensor([1.0, 2.0]), 1)
    tensor([0., 0.])
    """
    if int(d) != d or d < 1:
        raise ValueError(f"multigammaln: the dimension must be a positive integer, it is {d}")
    (a,) = as_floating("multigammaln", a)
    good = ns.greater(a, 0.5 * (d - 1))
    a = ns.where(good, a, math.nan)
    steps = -0.5 * ns.arange(int(d), dtype=a.dtype)
    out = ns.sum(ns.lgamma(ns.expand_dims(a, -1) + steps), axis=-1)
    return out + 0.25 * d * (d - 1) * math.log(math.pi)
