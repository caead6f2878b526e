"""Special functions beside PyTorch's and JAX's, derivatives where formulas have gaps, and what is refused."""

import os

import numpy as np
import pytest
import scipy.special

import tapegrad as tg
from tapegrad.testing import check_grads

S = tg.special
X = np.array([-4.5, -2.3, -0.8, -0.1, 0.2, 0.9, 2.7, 6.5, 11.0])
UNIT = np.array([-0.95, -0.6, -0.1, 0.3, 0.74, 0.76, 0.999])
SHARE = (1 + UNIT) / 2
POSITIVE = np.abs(X)


def grad(function, *operands):
    inputs = [tg.tensor(a, requires_grad=True) for a in operands]
    out = function(*inputs)
    out.sum().backward()
    return out.detach().numpy(), [x.grad.numpy() for x in inputs]


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("erfcx", X),
        ("erfinv", UNIT),
        ("ndtri", SHARE),
        ("log_ndtr", X),
        ("entr", POSITIVE),
        ("sinc", X),
        ("i0", X),
        ("i0e", X),
        ("i1", X),
        ("i1e", X),
        ("digamma", POSITIVE),
        ("gammaln", X),
        ("psi", POSITIVE),
        ("expit", X),
        ("logit", SHARE),
        ("log_expit", X),
    ],
)
def test_like_torch(name, x):
    torch = pytest.importorskip("torch")
    names = {"log_expit": torch.nn.functional.logsigmoid}
    theirs = names.get(name) or getattr(torch.special, name)
    t = torch.tensor(x, requires_grad=True)
    out = theirs(t)
    out.sum().backward()
    value, (slope,) = grad(getattr(S, name), x)
    np.testing.assert_allclose(value, out.detach().numpy(), rtol=1e-10, atol=1e-12)
    rough = name in ("digamma", "psi")  # its trigamma has nine digits
    np.testing.assert_allclose(slope, t.grad.numpy(), rtol=1e-8 if rough else 1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "operands"),
    [
        ("rel_entr", (POSITIVE, POSITIVE[::-1])),
        ("kl_div", (POSITIVE, POSITIVE[::-1])),
        ("betaln", (POSITIVE, POSITIVE[::-1])),
        ("gammainc", (POSITIVE, POSITIVE[::-1])),
        ("gammaincc", (POSITIVE, POSITIVE[::-1])),
        ("betainc", (POSITIVE[:7], POSITIVE[2:], SHARE)),
        ("xlogy", (X, POSITIVE)),
        ("xlog1py", (X, POSITIVE)),
        ("gamma", (POSITIVE,)),
    ],
)
def test_like_jax(name, operands):
    jax = pytest.importorskip("jax")
    theirs = getattr(jax.scipy.special, name, None)
    if theirs is None:
        pytest.skip("not in this JAX")
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        arrays = [jax.numpy.asarray(a, dtype="float64") for a in operands]
        value = np.asarray(theirs(*arrays))
        by = range(len(operands))
        if name == "betainc":
            by = [2]  # theirs has no derivatives by the others
        slopes = {
            k: np.asarray(jax.grad(lambda *a: theirs(*a).sum(), argnums=k)(*arrays)) for k in by
        }  # fmt: skip
    mine, found = grad(getattr(S, name), *operands)
    # its betaln has seven digits
    np.testing.assert_allclose(mine, value, rtol=1e-6 if name == "betaln" else 1e-10, atol=1e-13)
    for k, slope in slopes.items():
        # JAX's derivatives of the incomplete gamma functions by their parameters are good to fewer digits
        rough = (name.startswith("gammainc") and k == 0) or name == "betaln"
        np.testing.assert_allclose(found[k], slope, rtol=1e-6 if rough else 1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("function", "x", "derivatives"),
    [
        (tg.sinc, 0.0, [1.0, 0.0, -(np.pi**2) / 3, 0.0, np.pi**4 / 5]),
        (S.exprel, 0.0, [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5]),
        (S.j0, 0.0, [1.0, 0.0, -1 / 2, 0.0, 3 / 8]),
        (S.j1, 0.0, [0.0, 1 / 2, 0.0, -3 / 8, 0.0]),
        (S.i0, 0.0, [1.0, 0.0, 1 / 2, 0.0, 3 / 8]),
        (S.i1, 0.0, [0.0, 1 / 2, 0.0, 3 / 8, 0.0]),
        (S.rgamma, -1.0, [0.0, -1.0, 2 * (1 - np.euler_gamma)]),
        (S.rgamma, 0.0, [0.0, 1.0, 2 * np.euler_gamma]),
        (lambda v: S.boxcox(3.0, v), 0.0, [np.log(3) ** (k + 1) / (k + 1) for k in range(4)]),
        (lambda v: S.inv_boxcox(0.5, v), 0.0, [np.exp(0.5), -np.exp(0.5) / 8]),
        (S.erfcx, 1e8, [5.641895835477563e-09, -5.641895835477563e-17, 1.1283791670955126e-24]),
        (S.log_ndtr, -1e5, [-5000000012.43187, 1e5 + 1e-5, -1.0 + 1e-10]),
    ],
)
def test_derivatives_where_formulas_have_gaps(function, x, derivatives):
    for expected in derivatives:
        np.testing.assert_allclose(function(x), expected, rtol=1e-12, atol=1e-13)
        function = tg.grad(function)


def test_third_orders():
    for function, x in ((S.erfcx, 0.7), (S.log_ndtr, -3.0), (tg.sinc, 0.4), (S.exprel, -2.0), (S.j1, 2.5)):
        check_grads(function, [np.array([x, x + 0.4])], order=3)
    check_grads(S.gammainc, [np.array([1.5, 30.0]), np.array([2.0, 28.0])], order=3)
    check_grads(S.betainc, [np.array([1.5]), np.array([2.5]), np.array([0.3])], order=3)


def test_negative_arguments():
    x = np.array([-2.7, -1.4, -0.3])
    for name in ("gamma", "gammaln", "digamma", "rgamma", "erfcx"):
        check_grads(getattr(S, name), [x])
        np.testing.assert_allclose(getattr(S, name)(x).numpy(), getattr(scipy.special, name)(x), rtol=1e-13)
    check_grads(S.beta, [x, np.array([0.45, 0.8, 2.6])])


@pytest.mark.parametrize("name", ["entr", "rel_entr", "kl_div", "boxcox", "gammainc", "betainc"])
def test_nothing_is_nan_at_the_ends(name):
    arity = {"entr": 1, "betainc": 3}.get(name, 2)
    operands = [np.array([0.5, 0.5, 1.0])] * (arity - 1) + [np.array([0.0, 1.0, 1.0])]
    if name == "boxcox":
        operands = operands[::-1]
    value, slopes = grad(getattr(S, name), *operands)
    np.testing.assert_allclose(value, getattr(scipy.special, name)(*operands))
    for slope in slopes:
        assert not np.isnan(slope).any()


def test_what_is_refused():
    g = tg.grad(lambda a: S.gammainc(a, 2.0))
    for _ in range(2):
        g = tg.grad(g)
    assert np.isfinite(g(1.5))
    with pytest.raises(NotImplementedError, match=r"gammainc.*third"):
        tg.grad(g)(1.5)
    b = tg.tensor(2.5, requires_grad=True)
    y = S.betainc(1.5, b, 0.25)
    for _ in range(3):
        (y,) = tg.autograd.grad(y, [b], create_graph=True)
    with pytest.raises(NotImplementedError, match=r"betainc.*third"):
        y.backward()
    with pytest.raises(ValueError, match="factorial: exact"):
        S.factorial(3, exact=True)
    with pytest.raises(ValueError, match="multigammaln"):
        S.multigammaln(2.0, 1.5)
    with pytest.raises(TypeError, match=r"huber.*complex"):
        S.huber(1.0, 1j)
    with pytest.raises(TypeError, match="erfinv"):
        S.erfinv(1j)
    with pytest.raises(ValueError, match=r"betainc.*broadcast"):
        S.betainc(np.ones(2), np.ones(3), 0.5)
    assert np.isnan(S.multigammaln(0.5, 3).item())


NAMES = [
    "erf", "erfc", "erfcx", "erfinv", "erfcinv", "gammaln", "gamma", "digamma", "psi", "polygamma",
    "beta", "betaln", "betainc", "betaincc", "gammainc", "gammaincc", "gammaincinv", "gammainccinv",
    "betaincinv", "betainccinv", "expit", "logit", "log_expit", "ndtr", "ndtri", "log_ndtr", "xlogy",
    "xlog1py", "entr", "rel_entr", "kl_div", "i0", "i0e", "i1", "i1e", "j0", "j1", "y0", "y1",
    "logsumexp", "softmax", "log_softmax", "sinc", "zeta", "gammasgn", "rgamma", "poch", "binom",
    "factorial", "cbrt", "exp2", "exp10", "expm1", "log1p", "cosm1", "huber", "pseudo_huber", "boxcox",
    "boxcox1p", "inv_boxcox", "inv_boxcox1p", "softplus", "exprel", "multigammaln",
]  # fmt: skip


def test_names():
    """SciPy's names, all of those that are promised."""
    for name in NAMES:
        assert name in S.__all__ and hasattr(scipy.special, name), name
    assert tg.sinc is S.sinc and not hasattr(tg, "gammainc")
    assert S.zeta(2.0).item() == pytest.approx(np.pi**2 / 6)


def test_compiled_and_batched():
    a, x = np.array([0.7, 3.0, 250.0]), np.array([0.5, 4.0, 240.0])
    f = tg.compile(tg.value_and_grad(lambda a, x: tg.sum(S.gammainc(a, x) * S.betaln(a, x)), argnums=(0, 1)))
    for shift in (0.0, 0.25):
        value, slopes = f(a + shift, x)
        t = [tg.tensor(v, requires_grad=True) for v in (a + shift, x)]
        out = tg.sum(S.gammainc(*t) * S.betaln(*t))
        out.backward()
        assert value == pytest.approx(out.item())
        for got, leaf in zip(slopes, t, strict=True):
            np.testing.assert_allclose(got, leaf.grad.numpy())
    rows = tg.vmap(tg.grad(lambda a, x: S.gammainc(a, x)))(a, x)
    np.testing.assert_allclose(rows, grad(S.gammainc, a, x)[1][0])


@pytest.mark.skipif("TAPEGRAD_HYPOTHESIS" not in os.environ, reason="slow: all orders of the families")
def test_families_differentiate_into_themselves():
    x = np.linspace(0.1, 3.0, 9)
    for function in (S.erfcx, tg.sinc, S.exprel, S.j0, S.i0, S.i0e):
        f = function
        for _ in range(4):
            step = 1e-5
            numeric = (np.asarray(tg.vmap(f)(x + step)) - np.asarray(tg.vmap(f)(x - step))) / (2 * step)
            f = tg.grad(f)
            np.testing.assert_allclose(tg.vmap(f)(x), numeric, rtol=1e-6, atol=1e-7)
