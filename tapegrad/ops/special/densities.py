"""Logarithms of densities as rows of their own: for `tapegrad.stats`, and all digits of large parameters."""

from __future__ import annotations

from tapegrad.kernels import scalar as f
from tapegrad.ops.references import special
from tapegrad.ops.table import POSITIVE, Domain, elementwise

elementwise(
    "gamma_log",
    f.gamma_log,
    rules=(
        lambda g, out, x, y: g * (f.log(y) - f.digamma(x)),
        lambda g, out, x, y: g * (f.where(x == 1.0, 0.0, (x - 1.0) / f.where(x == 1.0, 1.0, y)) - 1.0),
    ),
    domain=(POSITIVE, POSITIVE),
    reference=special("gamma_log", lambda scipy, a, x: scipy.xlogy(a - 1, x) - x - scipy.gammaln(a)),
    dtype="float",
    guarded=True,
    public=False,
    doc="`(x - 1) log(y) - y - lgamma(x)`: the density of the gamma distribution.",
)
elementwise(
    "beta_log",
    f.beta_log,
    rules=(
        lambda g, out, x, y, z: g * (f.log(z) + f.psi_step(x, y)),
        lambda g, out, x, y, z: g * (f.log1p(-z) + f.psi_step(y, x)),
        lambda g, out, x, y, z: (
            g
            * (
                f.where(x == 1.0, 0.0, (x - 1.0) / f.where(x == 1.0, 1.0, z))
                - f.where(y == 1.0, 0.0, (y - 1.0) / f.where(y == 1.0, 1.0, 1.0 - z))
            )
        ),
    ),
    domain=(POSITIVE, POSITIVE, Domain(0.0, 1.0)),
    reference=special(
        "beta_log",
        lambda scipy, a, b, x: scipy.xlogy(a - 1, x) + scipy.xlog1py(b - 1, -x) - scipy.betaln(a, b),
    ),
    dtype="float",
    guarded=True,
    public=False,
    doc="`(x - 1) log(z) + (y - 1) log(1 - z) - betaln(x, y)`: the density of the beta distribution.",
)
elementwise(
    "t_constant",
    f.t_constant,
    rules=(lambda g, out, x: 0.5 * g * f.where(f.isinf(x), 0.0, f.psi_step(0.5 * x, 0.5) - 1.0 / x),),
    domain=(POSITIVE,),
    reference=special(
        "t_constant",
        lambda scipy, n: (
            scipy.gammaln((n + 1) / 2) - scipy.gammaln(n / 2) - scipy.xlogy(0.5, 3.141592653589793 * n)
        ),
    ),
    dtype="float",
    guarded=True,
    public=False,
    doc="The logarithm of the density at 0 of Student's distribution with `x` degrees of freedom.",
)
