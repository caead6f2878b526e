"""Entropies, element by element."""

from __future__ import annotations

from tapegrad.kernels import scalar as f
from tapegrad.ops.references import special
from tapegrad.ops.table import POSITIVE, Domain, elementwise

elementwise(
    "entr",
    f.entr,
    rules=(lambda g, out, x: g * f.where(x < 0.0, 0.0, -1.0 - f.log(f.where(x < 0.0, 1.0, x))),),
    domain=(POSITIVE,),
    reference=special("entr"),
    dtype="float",
    guarded=True,
    home="special",
    doc="`-x * log(x)`; 0 at 0, minus infinity (with derivative 0) below.",
)
elementwise(
    "rel_entr",
    f.rel_entr,
    rules=(
        lambda g, out, x, y: g * f.where((x > 0.0) & (y > 0.0), 1.0 + f.log_ratio(x, y), 0.0),
        lambda g, out, x, y: -g * f.where((x > 0.0) & (y > 0.0), x / f.where(y > 0.0, y, 1.0), 0.0),
    ),
    domain=(POSITIVE, POSITIVE),
    reference=special("rel_entr"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""`x * log(x / y)`, all digits of it near `x = y`.

    0 where `x` is 0 and `y` is not negative, infinity outside of that; there, the derivative is 0.""",
)
elementwise(
    "kl_div",
    f.kl_div,
    rules=(
        lambda g, out, x, y: g * f.where((x > 0.0) & (y > 0.0), f.log_ratio(x, y), 0.0),
        lambda g, out, x, y: g * f.where((x >= 0.0) & (y > 0.0), (y - x) / f.where(y > 0.0, y, 1.0), 0.0),
    ),
    domain=(Domain(0.25), Domain(0.25)),
    reference=special("kl_div"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""`x * log(x / y) - x + y`, all digits of it near `x = y` (Loader 2000).

    `y` where `x` is 0 and `y` is not negative, infinity outside of that; there, the derivative is 0.""",
)
elementwise(
    "log_ratio",
    f.log_ratio,
    rules=(lambda g, out, x, y: g / x, lambda g, out, x, y: -g / y),
    domain=(POSITIVE, POSITIVE),
    reference=special("log_ratio", lambda scipy, x, y: scipy.rel_entr(1.0, y / x)),
    dtype="float",
    guarded=True,
    public=False,
    doc="`log(x / y)` of positive numbers, all digits of it near `x = y`.",
)
