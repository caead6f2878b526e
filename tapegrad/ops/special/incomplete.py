"""The incomplete gamma and beta functions, with derivatives by all arguments."""

from __future__ import annotations

from collections.abc import Callable

from tapegrad.kernels import scalar as f
from tapegrad.ops.references import special
from tapegrad.ops.table import POSITIVE, Domain, elementwise


def _no_more(message: str, arity: int) -> Callable:
    """A rule for what has no derivative: it says so, when it is traced or compiled."""

    def two(g, out, x, y):  # type: ignore[no-untyped-def]
        raise NotImplementedError(message)

    def three(g, out, x, y, z):  # type: ignore[no-untyped-def]
        raise NotImplementedError(message)

    rule: Callable = two if arity == 2 else three
    rule.refusal = message  # type: ignore[attr-defined]
    return rule


INSIDE = Domain(0.25)

elementwise(
    "gammainc",
    f.gammainc,
    rules=(lambda g, out, x, y: g * f.gammainc_1(x, y), lambda g, out, x, y: g * f.gammainc_x(x, y)),
    domain=(INSIDE, POSITIVE),
    reference=special("gammainc"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""The regularised lower incomplete gamma function of `y`, with parameter `x`.

    By `x` it can be differentiated three times, any number of times by `y`. Derivatives by `x` are sums of
    the series differentiated term by term, or integrals by Gauss and Legendre's rule, to about 1e-14.""",
)
elementwise(
    "gammaincc",
    f.gammaincc,
    rules=(lambda g, out, x, y: -g * f.gammainc_1(x, y), lambda g, out, x, y: -g * f.gammainc_x(x, y)),
    domain=(INSIDE, POSITIVE),
    reference=special("gammaincc"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""The regularised upper incomplete gamma function of `y`, with parameter `x`: `1 - gammainc(x, y)`.

    Derivatives as for `gammainc`.""",
)
elementwise(
    "gammainc_x",
    f.gammainc_x,
    rules=(
        lambda g, out, x, y: g * (out * (f.log(f.where(y == 0.0, 1.0, y)) - f.digamma(x))),
        lambda g, out, x, y: g * (out * ((x - 1.0) / y - 1.0)),
    ),
    domain=(INSIDE, POSITIVE),
    reference=special(
        "gammainc_x", lambda scipy, a, x: x ** (a - 1) / scipy.gamma(a) * 2.718281828459045**-x
    ),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `gammainc` by `y`: the density of the gamma distribution.",
)
elementwise(
    "gammainc_1",
    f.gammainc_1,
    rules=(
        lambda g, out, x, y: g * f.gammainc_2(x, y),
        lambda g, out, x, y: g * (f.gammainc_x(x, y) * (f.log(f.where(y == 0.0, 1.0, y)) - f.digamma(x))),
    ),
    domain=(INSIDE, POSITIVE),
    reference=special("gammainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The first derivative of `gammainc` by `x`.",
)
elementwise(
    "gammainc_2",
    f.gammainc_2,
    rules=(
        lambda g, out, x, y: g * f.gammainc_3(x, y),
        lambda g, out, x, y: (
            g
            * (
                f.gammainc_x(x, y)
                * (f.square(f.log(f.where(y == 0.0, 1.0, y)) - f.digamma(x)) - f.trigamma(x))
            )
        ),
    ),
    domain=(INSIDE, POSITIVE),
    reference=special("gammainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The second derivative of `gammainc` by `x`.",
)
elementwise(
    "gammainc_3",
    f.gammainc_3,
    rules=(
        _no_more("gammainc: there are derivatives by its first argument up to the third only", 2),
        lambda g, out, x, y: (
            g
            * f.gammainc_x(x, y)
            * (
                (f.log(f.where(y == 0.0, 1.0, y)) - f.digamma(x))
                * (f.square(f.log(f.where(y == 0.0, 1.0, y)) - f.digamma(x)) - 3.0 * f.trigamma(x))
                + 2.0 * f.zeta(3.0, x)
            )
        ),
    ),
    domain=(INSIDE, POSITIVE),
    reference=special("gammainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The third derivative of `gammainc` by `x`.",
)
elementwise(
    "gammaincinv",
    f.gammaincinv,
    rules=(
        lambda g, out, x, y: -g * (f.gammainc_1(x, out) / f.gammainc_x(x, out)),
        lambda g, out, x, y: g / f.gammainc_x(x, out),
    ),
    domain=(INSIDE, Domain(0.0, 1.0)),
    reference=special("gammaincinv"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The inverse of `gammainc` by its second argument: quantiles of the gamma distribution.",
)
elementwise(
    "gammainccinv",
    f.gammainccinv,
    rules=(
        lambda g, out, x, y: -g * (f.gammainc_1(x, out) / f.gammainc_x(x, out)),
        lambda g, out, x, y: -g / f.gammainc_x(x, out),
    ),
    domain=(INSIDE, Domain(0.0, 1.0)),
    reference=special("gammainccinv"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The inverse of `gammaincc` by its second argument.",
)

BETA = (INSIDE, INSIDE, Domain(0.0, 1.0))

elementwise(
    "betainc",
    f.betainc,
    rules=(
        lambda g, out, x, y, z: g * f.betainc_a(x, y, z),
        lambda g, out, x, y, z: g * f.betainc_b(x, y, z),
        lambda g, out, x, y, z: g * f.betainc_x(x, y, z),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""The regularised incomplete beta function of `z`, with parameters `x` and `y`.

    By `x` and `y` it can be differentiated three times, any number of times by `z`. Derivatives by `x`
    and `y` are integrals by Gauss and Legendre's rule, to about 1e-13.""",
)
elementwise(
    "betaincc",
    f.betaincc,
    rules=(
        lambda g, out, x, y, z: -g * f.betainc_a(x, y, z),
        lambda g, out, x, y, z: -g * f.betainc_b(x, y, z),
        lambda g, out, x, y, z: -g * f.betainc_x(x, y, z),
    ),
    domain=BETA,
    reference=special("betaincc"),
    dtype="float",
    guarded=True,
    home="special",
    doc="""The complement of the regularised incomplete beta function, `1 - betainc(x, y, z)`.

    Derivatives as for `betainc`.""",
)
elementwise(
    "betainc_x",
    f.betainc_x,
    rules=(
        lambda g, out, x, y, z: g * (out * (f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y))),
        lambda g, out, x, y, z: g * (out * (f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x))),
        lambda g, out, x, y, z: g * (out * ((x - 1.0) / z - (y - 1.0) / (1.0 - z))),
    ),
    domain=BETA,
    reference=special(
        "betainc_x", lambda scipy, a, b, x: x ** (a - 1) * (1 - x) ** (b - 1) / scipy.beta(a, b)
    ),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `betainc` by `z`: the density of the beta distribution.",
)
elementwise(
    "betainc_a",
    f.betainc_a,
    rules=(
        lambda g, out, x, y, z: g * f.betainc_aa(x, y, z),
        lambda g, out, x, y, z: g * f.betainc_ab(x, y, z),
        lambda g, out, x, y, z: (
            g * (f.betainc_x(x, y, z) * (f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y)))
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The first derivative of `betainc` by `x`.",
)
elementwise(
    "betainc_b",
    f.betainc_b,
    rules=(
        lambda g, out, x, y, z: g * f.betainc_ab(x, y, z),
        lambda g, out, x, y, z: g * f.betainc_bb(x, y, z),
        lambda g, out, x, y, z: (
            g * (f.betainc_x(x, y, z) * (f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x)))
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The first derivative of `betainc` by `y`.",
)
BEYOND = "betainc: there are derivatives by its first two arguments up to the third only"
elementwise(
    "betainc_aa",
    f.betainc_aa,
    rules=(
        lambda g, out, x, y, z: g * f.betainc_aaa(x, y, z),
        lambda g, out, x, y, z: g * f.betainc_aab(x, y, z),
        lambda g, out, x, y, z: (
            g
            * f.betainc_x(x, y, z)
            * (f.square(f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y)) + f.trigamma_step(x, y))
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `betainc` of order 2 by `x`.",
)
elementwise(
    "betainc_ab",
    f.betainc_ab,
    rules=(
        lambda g, out, x, y, z: g * f.betainc_aab(x, y, z),
        lambda g, out, x, y, z: g * f.betainc_abb(x, y, z),
        lambda g, out, x, y, z: (
            g
            * f.betainc_x(x, y, z)
            * (
                (f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y))
                * (f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x))
                + f.trigamma(x + y)
            )
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `betainc` by `x` and `y`.",
)
elementwise(
    "betainc_bb",
    f.betainc_bb,
    rules=(
        lambda g, out, x, y, z: g * f.betainc_abb(x, y, z),
        lambda g, out, x, y, z: g * f.betainc_bbb(x, y, z),
        lambda g, out, x, y, z: (
            g
            * f.betainc_x(x, y, z)
            * (f.square(f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x)) + f.trigamma_step(y, x))
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `betainc` of order 2 by `y`.",
)
elementwise(
    "betainc_aaa",
    f.betainc_aaa,
    rules=(
        _no_more(BEYOND, 3),
        _no_more(BEYOND, 3),
        lambda g, out, x, y, z: (
            g
            * f.betainc_x(x, y, z)
            * (
                (f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y))
                * (
                    f.square(f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y))
                    + 3.0 * f.trigamma_step(x, y)
                )
                + 2.0 * (f.zeta(3.0, x) - f.zeta(3.0, x + y))
            )
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `betainc` of order 3 by `x`.",
)
elementwise(
    "betainc_aab",
    f.betainc_aab,
    rules=(
        _no_more(BEYOND, 3),
        _no_more(BEYOND, 3),
        lambda g, out, x, y, z: (
            g
            * f.betainc_x(x, y, z)
            * (
                (f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x))
                * (f.square(f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y)) + f.trigamma_step(x, y))
                + 2.0
                * (
                    (f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y)) * f.trigamma(x + y)
                    - f.zeta(3.0, x + y)
                )
            )
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `betainc` by `x` twice and `y`.",
)
elementwise(
    "betainc_abb",
    f.betainc_abb,
    rules=(
        _no_more(BEYOND, 3),
        _no_more(BEYOND, 3),
        lambda g, out, x, y, z: (
            g
            * f.betainc_x(x, y, z)
            * (
                (f.log(f.where(z == 0.0, 1.0, z)) + f.psi_step(x, y))
                * (f.square(f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x)) + f.trigamma_step(y, x))
                + 2.0
                * (
                    (f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x)) * f.trigamma(x + y)
                    - f.zeta(3.0, x + y)
                )
            )
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `betainc` by `x` and `y` twice.",
)
elementwise(
    "betainc_bbb",
    f.betainc_bbb,
    rules=(
        _no_more(BEYOND, 3),
        _no_more(BEYOND, 3),
        lambda g, out, x, y, z: (
            g
            * f.betainc_x(x, y, z)
            * (
                (f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x))
                * (
                    f.square(f.log1p(f.where(z == 1.0, 0.0, -z)) + f.psi_step(y, x))
                    + 3.0 * f.trigamma_step(y, x)
                )
                + 2.0 * (f.zeta(3.0, y) - f.zeta(3.0, x + y))
            )
        ),
    ),
    domain=BETA,
    reference=special("betainc"),
    dtype="float",
    guarded=True,
    public=False,
    doc="The derivative of `betainc` of order 3 by `y`.",
)
elementwise(
    "betaincinv",
    f.betaincinv,
    rules=(
        lambda g, out, x, y, z: -g * (f.betainc_a(x, y, out) / f.betainc_x(x, y, out)),
        lambda g, out, x, y, z: -g * (f.betainc_b(x, y, out) / f.betainc_x(x, y, out)),
        lambda g, out, x, y, z: g / f.betainc_x(x, y, out),
    ),
    domain=BETA,
    reference=special("betaincinv"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The inverse of `betainc` by its third argument: quantiles of the beta distribution.",
)
elementwise(
    "betainccinv",
    f.betainccinv,
    rules=(
        lambda g, out, x, y, z: -g * (f.betainc_a(x, y, out) / f.betainc_x(x, y, out)),
        lambda g, out, x, y, z: -g * (f.betainc_b(x, y, out) / f.betainc_x(x, y, out)),
        lambda g, out, x, y, z: -g / f.betainc_x(x, y, out),
    ),
    domain=BETA,
    reference=special("betainccinv"),
    dtype="float",
    guarded=True,
    home="special",
    doc="The inverse of `betaincc` by its third argument.",
)
