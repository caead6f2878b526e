"""Bessel functions, of orders 0 and 1."""

from __future__ import annotations

from tapegrad.kernels import scalar as f
from tapegrad.ops.references import special
from tapegrad.ops.table import NONZERO, POSITIVE, REAL, elementwise

elementwise(
    "j0",
    f.j0,
    rules=(lambda g, out, x: -g * f.j1(x),),
    reference=special("j0"),
    dtype="float",
    home="special",
    doc="The Bessel function of the first kind of order 0.",
)
elementwise(
    "j1",
    f.j1,
    rules=(lambda g, out, x: g * (f.j0(x) - f.jv_n(1.0, x)),),
    reference=special("j1"),
    dtype="float",
    home="special",
    doc="The Bessel function of the first kind of order 1.",
)
elementwise(
    "jv_n",
    f.jv_n,
    rules=(None, lambda g, out, x, y: -g * (y * f.jv_n(x + 1.0, y))),
    domain=(POSITIVE, REAL),
    reference=special("jv_n", lambda scipy, n, x: scipy.jv(n, x) / x**n),
    dtype="float",
    public=False,
    doc="The Bessel function of the first kind of order `x` at `y`, over `y**x`.",
)
elementwise(
    "y0",
    f.y0,
    rules=(lambda g, out, x: -g * f.y1(x),),
    domain=(POSITIVE,),
    reference=special("y0"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The Bessel function of the second kind of order 0; NaN for negative numbers.",
)
elementwise(
    "y1",
    f.y1,
    rules=(lambda g, out, x: g * (f.y0(x) - out / x),),
    domain=(POSITIVE,),
    reference=special("y1"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The Bessel function of the second kind of order 1; NaN for negative numbers.",
)
elementwise(
    "i0",
    f.i0,
    rules=(lambda g, out, x: g * f.i1(x),),
    reference=special("i0"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The modified Bessel function of the first kind of order 0.",
)
elementwise(
    "i1",
    f.i1,
    rules=(lambda g, out, x: g * (f.i0(x) - f.iv_n(1.0, x)),),
    reference=special("i1"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The modified Bessel function of the first kind of order 1.",
)
elementwise(
    "iv_n",
    f.iv_n,
    rules=(None, lambda g, out, x, y: g * (y * f.iv_n(x + 1.0, y))),
    domain=(POSITIVE, REAL),
    reference=special("iv_n", lambda scipy, n, x: scipy.iv(n, x) / x**n),
    dtype="float",
    guarded=True,
    public=False,
    doc="The modified Bessel function of the first kind of order `x` at `y`, over `y**x`.",
)
elementwise(
    "i0e",
    f.i0e,
    rules=(lambda g, out, x: -g * (f.sign(x) * f.i0e_1(f.abs(x))),),
    domain=(NONZERO,),
    reference=special("i0e"),
    dtype="float",
    home="special",
    kink="0 at 0",
    doc="`exp(-abs(x)) * i0(x)`; derivative 0 at 0. In derivatives nothing cancels where `x` is large.",
)
elementwise(
    "i0e_1",
    f.i0e_1,
    rules=(lambda g, out, x: -g * f.i0e_n(2.0, x),),
    domain=(POSITIVE,),
    reference=special("i0e_1", lambda scipy, x: scipy.i0e(x) - scipy.i1e(x)),
    dtype="float",
    public=False,
    doc="The derivative of `i0e` at positive numbers, with the other sign.",
)
elementwise(
    "i0e_n",
    f.i0e_n,
    rules=(None, lambda g, out, x, y: -g * f.i0e_n(x + 1.0, y)),
    domain=(POSITIVE, POSITIVE),
    reference=special("i0e_n", lambda scipy, n, x: scipy.hyp1f1(n + 0.5, n + 1, -2 * x)),
    dtype="float",
    public=False,
    doc="The derivative of order `x` of `i0e` at positive `y`, times `(-1)**x`.",
)
elementwise(
    "i1e",
    f.i1e,
    rules=(lambda g, out, x: g * (f.i0e_n(2.0, f.abs(x)) - f.i0e_1(f.abs(x))),),
    reference=special("i1e"),
    dtype="float",
    home="special",
    doc="`exp(-abs(x)) * i1(x)`; second derivative 0 at 0, where it jumps.",
)
