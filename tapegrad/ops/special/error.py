"""The error function's relatives: scaled, inverse, logarithmic."""

from __future__ import annotations

import math

from tapegrad.kernels import scalar as f
from tapegrad.ops.references import special
from tapegrad.ops.table import POSITIVE, REAL, UNIT, Domain, elementwise, section

section("error functions")

HALF_SQRT_PI = 0.5 * math.sqrt(math.pi)
SQRT_2PI = math.sqrt(2.0 * math.pi)
SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
SQRT_HALF = math.sqrt(0.5)

elementwise(
    "erfcx",
    f.erfcx,
    rules=(lambda g, out, x: -2.0 * g * f.erfcx_1(x),),
    reference=special("erfcx"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""The scaled complementary error function `exp(x**2) * erfc(x)`.

    Derivatives of every order are scaled repeated integrals of `erfc` (NIST DLMF 7.18); nothing cancels.""",
)


def _erfcx_1(scipy, x):  # type: ignore[no-untyped-def]
    return 2.0 * HALF_SQRT_PI / math.pi - x * scipy.erfcx(x)


elementwise(
    "erfcx_1",
    f.erfcx_1,
    rules=(lambda g, out, x: -4.0 * g * f.erfcx_n(2.0, x),),
    reference=special("erfcx_1", _erfcx_1),
    dtype="float",
    guarded=True,
    public=False,
    doc="`exp(x**2)` times the integral of `erfc` from `x` on.",
)
elementwise(
    "erfcx_n",
    f.erfcx_n,
    rules=(None, lambda g, out, x, y: -2.0 * g * ((x + 1.0) * f.erfcx_n(x + 1.0, y))),
    domain=(POSITIVE, REAL),
    reference=special("erfcx_n", lambda scipy, n, x: scipy.erfcx(x)),
    dtype="float",
    guarded=True,
    public=False,
    doc="`exp(y**2)` times the repeated integral of `erfc`, `x` times.",
)
elementwise(
    "erfinv",
    f.erfinv,
    rules=(lambda g, out, x: g * (HALF_SQRT_PI * f.exp(out * out)),),
    domain=(UNIT,),
    reference=special("erfinv"),
    dtype="float",
    guarded=True,
    also=("special",),
    doc="The inverse of `erf`.",
)
elementwise(
    "erfcinv",
    f.erfcinv,
    rules=(lambda g, out, x: -g * (HALF_SQRT_PI * f.exp(out * out)),),
    domain=(Domain(0.0, 2.0),),
    reference=special("erfcinv"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The inverse of `erfc`.",
)
elementwise(
    "ndtri",
    f.ndtri,
    rules=(lambda g, out, x: g * (SQRT_2PI * f.exp(0.5 * out * out)),),
    domain=(Domain(0.0, 1.0),),
    reference=special("ndtri"),
    dtype="float",
    guarded=True,
    also=("special",),
    doc="The inverse of `ndtr`: quantiles of the standard normal distribution.",
)
# The density over the distribution function, so written that neither underflows.
elementwise(
    "log_ndtr",
    f.log_ndtr,
    rules=(lambda g, out, x: g * (SQRT_2_OVER_PI / f.erfcx(-SQRT_HALF * x)),),
    reference=special("log_ndtr"),
    dtype="float",
    also=("special",),
    doc="The logarithm of `ndtr`, without underflow.",
)
