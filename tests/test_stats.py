"""Distributions beside SciPy's, at and outside the ends of their supports; the table tests do the rest."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
from references import inexact_in_old_scipy

import tapegrad as tg
from tapegrad.testing import check_grads

CONTINUOUS = {
    "norm": (), "cauchy": (), "laplace": (), "logistic": (), "expon": (), "lognorm": (0.7,), "gamma": (2.5,),
    "beta": (2.0, 3.0), "t": (3.5,), "weibull_min": (1.5,), "uniform": (), "halfnorm": (), "invgamma": (2.0,),
    "gumbel_r": (),
}  # fmt: skip
COUNTS = {"poisson": (2.5,), "binom": (5, 0.3), "nbinom": (2.5, 0.3), "bernoulli": (0.3,), "geom": (0.3,)}
METHODS = ("logpdf", "pdf", "cdf", "sf", "logcdf", "logsf", "logpmf", "pmf")
X = np.array([-np.inf, -30.0, -1.0, 0.0, 0.1, 0.3, 1.0, 1.6, 2.5, 40.0, np.inf, np.nan])
K = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 1.5, np.nan])


def methods(table):
    for name in table:
        for method in METHODS:
            if hasattr(getattr(tg.stats, name), method):
                yield name, method


def scipy_value(name, method, *args, **kwargs):
    with np.errstate(all="ignore"):
        return getattr(getattr(scipy.stats, name), method)(*args, **kwargs)


@pytest.mark.parametrize(("name", "method"), list(methods(CONTINUOUS)))
def test_values_of_continuous_distributions(name, method):
    if inexact_in_old_scipy(f"stats.{name}.{method}"):
        pytest.skip("old SciPy takes logarithms of rounded probabilities")
    shapes = CONTINUOUS[name]
    function = getattr(getattr(tg.stats, name), method)
    for loc, scale in ((0, 1), (0.1, 1.5), (np.array([[0.0], [-2.0]]), 3.0)):
        expected = scipy_value(name, method, X, *shapes, loc=loc, scale=scale)
        got = function(X, *shapes, loc, scale).numpy()
        if method in ("logpdf", "pdf"):  # SciPy subtracts infinities
            expected = np.where(np.isposinf(X), -np.inf if method == "logpdf" else 0.0, expected)
        if method.startswith("log"):  # of numbers that underflow
            expected = np.where(np.isneginf(expected) & np.isfinite(got) & (got < -700.0), got, expected)
        np.testing.assert_allclose(got, expected, rtol=2e-12, atol=1e-300)


@pytest.mark.parametrize(("name", "method"), list(methods(COUNTS)))
def test_values_of_counts(name, method):
    if inexact_in_old_scipy(f"stats.{name}.{method}"):
        pytest.skip("old SciPy takes logarithms of rounded probabilities")
    function = getattr(getattr(tg.stats, name), method)
    for loc in (0, 2):
        expected = scipy_value(name, method, K, *COUNTS[name], loc=loc)
        np.testing.assert_allclose(function(K, *COUNTS[name], loc).numpy(), expected, rtol=2e-12, atol=1e-300)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_quantiles(name):
    if inexact_in_old_scipy(f"stats.{name}.ppf"):
        pytest.skip("old SciPy's quantiles are less accurate")
    shapes = CONTINUOUS[name]
    q = np.array([-0.1, 0.0, 1e-12, 0.01, 0.3, 0.5, 0.8, 1 - 1e-9, 1.0, 1.1, np.nan])
    for loc, scale in ((0, 1), (0.1, 1.5)):
        expected = scipy_value(name, "ppf", q, *shapes, loc=loc, scale=scale)
        if name == "halfnorm":  # SciPy rounds (1 + q) / 2
            expected = np.where(q == q, scipy.special.erfinv(q) * np.sqrt(2.0), q) * scale + loc
            expected[(q < 0) | (q > 1)] = np.nan
        got = getattr(tg.stats, name).ppf(q, *shapes, loc, scale).numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-8 if name == "t" else 1e-11, atol=1e-14)
    x = getattr(tg.stats, name).ppf(q[2:7], *shapes)
    np.testing.assert_allclose(getattr(tg.stats, name).cdf(x, *shapes).numpy(), q[2:7], rtol=1e-12)
    assert np.isnan(getattr(tg.stats, name).ppf(0.5, *shapes, scale=-1.0).item())


@pytest.mark.parametrize(
    ("name", "method", "arguments"),
    [
        ("gamma", "logpdf", (1e8 + 5e3, 1e8)),
        ("poisson", "logpmf", (100_004_000, 1e8)),
        ("binom", "logpmf", (300_010_000, 1e9, 0.3)),
        ("nbinom", "logpmf", (700_040_000, 3e8, 0.3)),
        ("t", "logpdf", (1.5, 1e9)),
        ("t", "logpdf", (1.5, np.inf)),
    ],
)
def test_large_parameters_keep_all_digits(name, method, arguments):
    mp = pytest.importorskip("mpmath").mp.clone()
    mp.dps = 50
    x, *rest = map(mp.mpf, arguments)

    def beta(x, a, b):
        return (
            (a - 1) * mp.log(x)
            + (b - 1) * mp.log1p(-x)
            + mp.loggamma(a + b)
            - mp.loggamma(a)
            - mp.loggamma(b)
        )

    exact = {
        "gamma": lambda x, a: (a - 1) * mp.log(x) - x - mp.loggamma(a),
        "poisson": lambda k, mu: k * mp.log(mu) - mu - mp.loggamma(k + 1),
        "binom": lambda k, n, p: beta(p, k + 1, n - k + 1) - mp.log(n + 1),
        "nbinom": lambda k, n, p: beta(p, n, k + 1) + mp.log(p) - mp.log(n + k),
        "t": lambda x, n: (
            -x * x / 2 - mp.log(2 * mp.pi) / 2
            if mp.isinf(n)
            else mp.loggamma((n + 1) / 2)
            - mp.loggamma(n / 2)
            - mp.log(n * mp.pi) / 2
            - (n + 1) / 2 * mp.log1p(x * x / n)
        ),
    }[name](x, *rest)
    got = getattr(getattr(tg.stats, name), method)(*arguments).item()
    assert got == pytest.approx(float(exact), rel=1e-12, abs=0)


def test_frozen():
    scale = tg.tensor(2.0, requires_grad=True)
    d = tg.stats.norm(0.5, scale=scale)
    value = d.logpdf([0.0, 1.0])
    assert value.tolist() == tg.stats.norm.logpdf([0.0, 1.0], 0.5, 2.0).tolist()
    value.sum().backward()
    assert scale.grad.item() == pytest.approx(-1 + 2 * 0.25 / 8)
    assert repr(tg.stats.gamma(2.0, scale=3.0)) == "<tapegrad.stats.gamma>(2.0, scale=3.0)"
    with pytest.raises(AttributeError, match="pmf"):
        d.pmf(1)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_parameters_without_meaning_give_nan(name):
    d, shapes = getattr(tg.stats, name), CONTINUOUS[name]
    assert np.isnan(d.logpdf(0.5, *shapes, scale=-1.0).item())
    assert np.isnan(d.logpdf(0.5, *shapes, scale=0.0).item())
    for k in range(len(shapes)):
        bad = list(shapes)
        bad[k] = -1.0
        assert np.isnan(d.logpdf(0.5, *bad).item()) and np.isnan(d.pdf(0.5, *bad).item())


@pytest.mark.parametrize("name", ["gamma", "beta", "expon", "lognorm", "weibull_min", "uniform", "invgamma"])
def test_outside_of_the_support_gradients_are_zero(name):
    d, shapes = getattr(tg.stats, name), CONTINUOUS[name]
    x = tg.tensor([-1.0, 0.5, -np.inf], requires_grad=True)
    given = [tg.tensor(s, requires_grad=True) for s in (*shapes, 0.0, 1.0)]
    value = d.pdf(x, *given)
    assert value.detach().numpy()[[0, 2]].tolist() == [0.0, 0.0]
    value.sum().backward()
    alone = [tg.tensor(s, requires_grad=True) for s in (*shapes, 0.0, 1.0)]
    d.pdf(0.5, *alone).backward()
    assert x.grad.numpy()[[0, 2]].tolist() == [0.0, 0.0]
    for got, expected in zip(given, alone, strict=True):
        assert got.grad.item() == pytest.approx(expected.grad.item(), rel=1e-12)


def test_gradients_at_the_ends():
    """Where a distribution begins its density may be infinite, and so may its derivative; nothing is NaN."""
    a = tg.tensor(1.0, requires_grad=True)
    tg.stats.gamma.logpdf(0.0, a, 0.0, 2.0)
    value = tg.stats.beta.logpdf(tg.tensor([0.0, 1.0]), 1.0, 1.0)
    assert value.tolist() == [0.0, 0.0]
    assert tg.stats.binom.logpmf([0, 5], 5, tg.tensor([0.0, 1.0])).tolist() == [0.0, 0.0]
    p = tg.tensor([0.0, 1.0], requires_grad=True)
    tg.stats.binom.logpmf([0, 5], 5, p).sum().backward()
    np.testing.assert_allclose(p.grad.numpy(), [-5.0, 5.0])


def test_arguments():
    assert tg.stats.gamma.logpdf(x=1.0, a=2.0, scale=3.0).item() == pytest.approx(
        scipy.stats.gamma.logpdf(1.0, 2.0, scale=3.0)
    )
    with pytest.raises(TypeError, match=r"gamma.logpdf: missing a required argument: 'a'"):
        tg.stats.gamma.logpdf(1.0)
    with pytest.raises(TypeError, match=r"norm.cdf: got an unexpected keyword argument 'rate'"):
        tg.stats.norm.cdf(1.0, rate=3.0)
    with pytest.raises(TypeError, match="complex"):
        tg.stats.norm.logpdf(1j)
    with pytest.raises(ValueError, match="broadcast"):
        tg.stats.norm.logpdf(np.ones(3), np.ones(2))
    assert tg.stats.poisson.logpmf(np.array([1, 2]), np.float32(2)).dtype == np.float32
    assert tg.stats.norm.logpdf(np.array([1, 2])).dtype == np.float64
    assert tg.stats.norm.logpdf(np.zeros((0, 3))).shape == (0, 3)
    assert repr(tg.stats.norm) == "<tapegrad.stats.norm>" and "logpdf" in tg.stats.norm.__doc__
    assert tg.stats.weibull is tg.stats.weibull_min


def test_multivariate_normal_like_scipy():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3))
    cov, mean, x = a @ a.T + np.eye(3), rng.normal(size=3), rng.normal(size=(4, 3))
    reference = scipy.stats.multivariate_normal
    for args in (
        (x, mean, cov),
        (x[0], mean, cov),
        (x, None, cov),
        (x, mean, 2.5),
        (x, mean, [1.0, 2.0, 3.0]),
    ):
        np.testing.assert_allclose(
            tg.stats.multivariate_normal.logpdf(*args).numpy(), reference.logpdf(*args)
        )
    both = np.stack([cov, 2 * cov])
    got = tg.stats.multivariate_normal.logpdf(x[:, None], mean, both).numpy()
    np.testing.assert_allclose(got[:, 1], reference.logpdf(x, mean, 2 * cov))
    with pytest.raises(np.linalg.LinAlgError, match="cholesky"):
        tg.stats.multivariate_normal.logpdf(x, mean, -cov).numpy()
    with pytest.raises(TypeError, match="allow_singular"):
        tg.stats.multivariate_normal.logpdf(x, mean, cov, allow_singular=True)
    with pytest.raises(ValueError, match=r"multivariate_normal\.logpdf"):
        tg.stats.multivariate_normal.logpdf(x, mean, np.eye(2))


def test_dirichlet_outside():
    assert tg.stats.dirichlet.logpdf([-0.5, 1.5], [2.0, 3.0]).item() == -np.inf
    assert tg.stats.dirichlet.logpdf([0.5, 0.6], [2.0, 3.0]).item() == -np.inf
    assert np.isnan(tg.stats.dirichlet.logpdf([0.5, 0.5], [-2.0, 3.0]).item())
    with pytest.raises(ValueError, match=r"dirichlet\.logpdf"):
        tg.stats.dirichlet.logpdf([0.5, 0.5], [2.0, 3.0, 1.0])


def test_categorical():
    logits = np.random.default_rng(0).normal(size=(2, 4))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    k = np.array([3, 0])
    expected = np.log(p[[0, 1], k])
    np.testing.assert_allclose(tg.stats.categorical.logpmf(k, p).numpy(), expected)
    np.testing.assert_allclose(tg.stats.categorical.logpmf(k, logits=logits).numpy(), expected)
    np.testing.assert_allclose(tg.stats.categorical.logpmf(3, p).numpy(), np.log(p[:, 3]))
    check_grads(lambda z: tg.stats.categorical.logpmf(k, logits=z), [logits])
    with pytest.raises(TypeError, match="either p or logits"):
        tg.stats.categorical.logpmf(k)
    with pytest.raises(TypeError, match="integers"):
        tg.stats.categorical.logpmf(1.0, p)
    with pytest.raises(IndexError):
        tg.stats.categorical.logpmf(4, p).numpy()


def test_compiled_likelihood():
    rng = np.random.default_rng(0)
    data = rng.gamma(2.0, 1.5, size=200)
    loss = tg.compile(tg.value_and_grad(lambda p: -tg.mean(tg.stats.gamma.logpdf(data, p[0], scale=p[1]))))
    for p in ([1.0, 1.0], [2.0, 1.5], [3.0, 0.5]):
        value, gradient = loss(np.array(p))
        assert value == pytest.approx(-scipy.stats.gamma.logpdf(data, p[0], scale=p[1]).mean())
        assert np.isfinite(gradient).all()
    assert loss.stats().replays == 2


@pytest.mark.parametrize(
    ("ours", "theirs", "x", "parameters"),
    [
        ("norm", "Normal", [0.5, -2.0], (0.3, 1.5)),
        ("cauchy", "Cauchy", [0.5, -2.0], (0.3, 1.5)),
        ("laplace", "Laplace", [0.5, -2.0], (0.3, 1.5)),
    ],
)
def test_gradients_like_torch(ours, theirs, x, parameters):
    torch = pytest.importorskip("torch")
    mine = [tg.tensor(v, requires_grad=True) for v in (x, *parameters)]
    yours = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, *parameters)]
    tg.sum(getattr(tg.stats, ours).logpdf(*mine)).backward()
    getattr(torch.distributions, theirs)(*yours[1:]).log_prob(yours[0]).sum().backward()
    for a, b in zip(mine, yours, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs", "x", "parameters"),
    [
        (lambda x, a, r: tg.stats.gamma.logpdf(x, a, scale=1 / r), "Gamma", [0.5, 1.3, 2.7], (2.5, 1.5)),
        (tg.stats.beta.logpdf, "Beta", [0.1, 0.3, 0.7], (2.5, 1.5)),
        (tg.stats.t.logpdf, "StudentT", [0.5, 1.3, -2.7], (3.5, 0.2, 1.5)),
        (lambda x, m, s: tg.stats.lognorm.logpdf(x, s, scale=tg.exp(m)), "LogNormal", [0.5, 2.7], (0.3, 1.5)),
        (lambda x, s, c: tg.stats.weibull_min.logpdf(x, c, scale=s), "Weibull", [0.5, 2.7], (1.3, 1.5)),
        (lambda x, r: tg.stats.expon.logpdf(x, scale=1 / r), "Exponential", [0.5, 2.7], (1.3,)),
        (tg.stats.poisson.logpmf, "Poisson", [0.0, 3.0, 7.0], (2.5,)),
        (lambda k, n, p: tg.stats.nbinom.logpmf(k, n, 1 - p), "NegativeBinomial", [0.0, 3.0], (2.5, 0.3)),
        (tg.stats.bernoulli.logpmf, "Bernoulli", [0.0, 1.0], (0.3,)),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_parameters_like_torch(ours, theirs, x, parameters):
    """PyTorch's other parametrisations, derivatives by its parameters."""
    torch = pytest.importorskip("torch")
    mine = [tg.tensor(v, requires_grad=True) for v in parameters]
    yours = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in parameters]
    out = ours(np.array(x), *mine)
    expected = getattr(torch.distributions, theirs)(*yours).log_prob(torch.tensor(x, dtype=torch.float64))
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    out.sum().backward()
    expected.sum().backward()
    for a, b in zip(mine, yours, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)
