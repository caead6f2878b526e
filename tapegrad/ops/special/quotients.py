"""Quotients with a filled gap at zero, and the transformations that are made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.kernels import scalar as f
from tapegrad.ops.record import as_floating, as_operand, composite
from tapegrad.ops.references import special
from tapegrad.ops.table import POSITIVE, REAL, Domain, Sample, elementwise, ns, public
from tapegrad.tensor import Tensor

__all__ = ["boxcox", "boxcox1p", "cosm1", "exp10", "huber", "inv_boxcox", "inv_boxcox1p", "pseudo_huber"]

PI = math.pi

# --- rows -----------------------------------------------------------------------------------------

elementwise(
    "sinc",
    f.sinc,
    rules=(lambda g, out, x: g * (PI * f.sinc_n(1.0, x)),),
    reference=np.sinc,
    dtype="float",
    also=("special",),
    doc="`sin(pi * x) / (pi * x)`, and 1 at 0.",
)
elementwise(
    "sinc_n",
    f.sinc_n,
    rules=(None, lambda g, out, x, y: g * (PI * f.sinc_n(x + 1.0, y))),
    domain=(POSITIVE, REAL),
    reference=lambda n, x: np.sinc(x),
    dtype="float",
    public=False,
    doc="The derivative of order `x` of `sinc` at `y`, over `pi ** x`.",
)
elementwise(
    "exprel",
    f.exprel,
    rules=(lambda g, out, x: g * f.exprel_n(1.0, x),),
    reference=special("exprel"),
    dtype="float",
    home="special",
    doc="`(exp(x) - 1) / x`, and 1 at 0.",
)
elementwise(
    "exprel_n",
    f.exprel_n,
    rules=(None, lambda g, out, x, y: g * f.exprel_n(x + 1.0, y)),
    domain=(POSITIVE, REAL),
    reference=special("exprel_n", lambda scipy, n, x: scipy.exprel(x)),
    dtype="float",
    public=False,
    doc="The derivative of order `x` of `exprel` at `y`.",
)
elementwise(
    "log1prel",
    f.log1prel,
    rules=(lambda g, out, x: -g * f.log1prel_n(1.0, x),),
    domain=(Domain(-1.0),),
    reference=lambda x: np.log1p(x) / x,
    dtype="float",
    guarded=True,
    public=False,
    doc="`log(1 + x) / x`, and 1 at 0.",
)
elementwise(
    "log1prel_n",
    f.log1prel_n,
    rules=(None, lambda g, out, x, y: -g * ((x + 1.0) * f.log1prel_n(x + 1.0, y))),
    domain=(POSITIVE, Domain(-1.0)),
    reference=lambda n, x: np.log1p(x) / x,
    dtype="float",
    guarded=True,
    public=False,
    doc="What derivatives of `log1prel` are made of.",
)

# --- made of them ---------------------------------------------------------------------------------


def _transformed(name: str, x: Any, lmbda: Any, logarithm: Any, edge: float) -> Tensor:
    x, lmbda = as_floating(name, x, lmbda)
    log = logarithm(x)
    at_edge = ns.logical_and(ns.equal(x, edge), ns.greater(lmbda, 0.0))
    out = ns.where(at_edge, -1.0, log) * ns.exprel(ns.where(at_edge, 0.0, lmbda * log))
    return out / ns.where(at_edge, lmbda, 1.0)


@public(
    reference=special("boxcox"),
    samples=(
        Sample(((5,), (5,)), domain=POSITIVE),
        Sample(((2, 3), (3,)), domain=POSITIVE),
        Sample(((4,),), args=(-0.5,), domain=POSITIVE),
    ),
    method=False,
    home="special",
)
@composite
def boxcox(x: Any, lmbda: Any, /) -> Tensor:
    """Box and Cox's transformation: ``(x**lmbda - 1) / lmbda``, and ``log(x)`` where ``lmbda`` is 0.

    Parameters
    ----------
    x : Tensor, array_like or number
        Not negative (otherwise NaN).
    lmbda : Tensor, array_like or number
        Exponent; derivatives by it are right at and near 0, too.

    Returns
    -------
    Tensor
        ``log(x) * exprel(lmbda * log(x))``.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.boxcox(tg.tensor([1.0, 4.0]), 0.5)
    tensor([0., 2.])
    """
    return _transformed("boxcox", x, lmbda, ns.log, 0.0)


@public(
    reference=special("boxcox1p"),
    samples=(Sample(((5,), (5,)), domain=POSITIVE), Sample(((4,),), args=(0.0,), domain=Domain(-1.0))),
    method=False,
    home="special",
)
@composite
def boxcox1p(x: Any, lmbda: Any, /) -> Tensor:
    """`boxcox` of ``1 + x``, accurate near 0.

    Parameters
    ----------
    x, lmbda : Tensor, array_like or number
        As for `boxcox`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.boxcox1p(tg.tensor([0.0, 3.0]), 0.5)
    tensor([0., 2.])
    """
    return _transformed("boxcox1p", x, lmbda, ns.log1p, -1.0)


@public(
    reference=special("inv_boxcox"),
    samples=(
        Sample(((5,), (5,)), domain=POSITIVE),
        Sample(((4,),), args=(0.0,)),
        Sample(((4,),), args=(-0.25,)),
    ),
    method=False,
    home="special",
)
@composite
def inv_boxcox(y: Any, lmbda: Any, /) -> Tensor:
    """The inverse of `boxcox`: ``(1 + lmbda * y) ** (1 / lmbda)``, and ``exp(y)`` where ``lmbda`` is 0.

    Parameters
    ----------
    y, lmbda : Tensor, array_like or number
        Derivatives by ``lmbda`` are right at and near 0, too.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.inv_boxcox(tg.tensor([0.0, 2.0]), 0.5)
    tensor([1., 4.])
    """
    y, lmbda = as_floating("inv_boxcox", y, lmbda)
    return ns.exp(y * ns.log1prel(lmbda * y))


@public(
    reference=special("inv_boxcox1p"),
    samples=(Sample(((5,), (5,)), domain=POSITIVE), Sample(((4,),), args=(0.0,))),
    method=False,
    home="special",
)
@composite
def inv_boxcox1p(y: Any, lmbda: Any, /) -> Tensor:
    """The inverse of `boxcox1p`, accurate near 0.

    Parameters
    ----------
    y, lmbda : Tensor, array_like or number
        As for `inv_boxcox`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.inv_boxcox1p(tg.tensor([0.0, 2.0]), 0.5)
    tensor([0., 3.])
    """
    y, lmbda = as_floating("inv_boxcox1p", y, lmbda)
    return ns.expm1(y * ns.log1prel(lmbda * y))


@public(
    reference=special("huber"),
    samples=(
        Sample(((7,),), prefix=(1.0,), domain=Domain(avoid=(-1.0, 1.0))),
        Sample(((2, 3),), prefix=(np.float32([0.5, 5.0, 5.0]),), domain=Domain(avoid=(-0.5, 0.5))),
        Sample(((4,),), args=(0.01,), domain=POSITIVE),
    ),
    method=False,
    home="special",
    kink="none",
)
@composite
def huber(delta: Any, r: Any, /) -> Tensor:
    """Huber's loss: ``r**2 / 2`` up to ``abs(r) = delta``, and linear beyond.

    Parameters
    ----------
    delta : Tensor, array_like or number
        Where it changes; negative gives infinity.
    r : Tensor, array_like or number
        Residuals.

    Returns
    -------
    Tensor
        At ``abs(r) = delta`` the first derivative is continuous; the second is that of the quadratic side.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.huber(1.0, tg.tensor([-3.0, 0.5]))
    tensor([2.5000, 0.1250])
    """
    r, delta = as_floating("huber", r, delta)
    a = ns.abs(r)
    out = ns.where(ns.less_equal(a, delta), 0.5 * ns.square(r), delta * (a - 0.5 * delta))
    return ns.where(ns.less(delta, 0.0), math.inf, out)


@public(
    reference=special("pseudo_huber"),
    samples=(
        Sample(((7,),), prefix=(1.0,)),
        Sample(((3,), (2, 3)), domain=POSITIVE),
    ),
    method=False,
    home="special",
)
@composite
def pseudo_huber(delta: Any, r: Any, /) -> Tensor:
    """A smooth form of Huber's loss: ``delta**2 * (sqrt(1 + (r / delta)**2) - 1)``.

    Parameters
    ----------
    delta : Tensor, array_like or number
        Negative gives infinity, 0 gives 0.
    r : Tensor, array_like or number
        Residuals.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.pseudo_huber(2.0, tg.tensor([0.0, 1.5]))
    tensor([0., 1.])
    """
    r, delta = as_floating("pseudo_huber", r, delta)
    positive = ns.greater(delta, 0.0)
    v = r / ns.where(positive, delta, math.inf)
    out = ns.where(positive, r * r / (1.0 + ns.sqrt(1.0 + v * v)), 0.0)
    return ns.where(ns.less(delta, 0.0), math.inf, out)


@public(
    reference=special("cosm1"),
    samples=(Sample(((5,),)), Sample(((2, 3),), domain=Domain(-0.01, 0.01))),
    method=False,
    home="special",
)
@composite
def cosm1(x: Any, /) -> Tensor:
    """``cos(x) - 1``, accurate near 0: ``-2 sin(x / 2)**2``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.cosm1(tg.tensor([0.0, tg.pi]))
    tensor([-0., -2.])
    """
    return -2.0 * ns.square(ns.sin(0.5 * as_operand(x, "cosm1")))


@public(
    reference=special("exp10"),
    samples=(Sample(((5,),)),),
    method=False,
    home="special",
)
@composite
def exp10(x: Any, /) -> Tensor:
    """``10**x``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.special.exp10(tg.tensor([-1.0, 2.0])).tolist()
    [0.1, 100.0]
    """
    return ns.power(10.0, as_operand(x, "exp10"))
