"""SciPy's functions for any array API library, on tensors, in a process of its own: SciPy asks at import."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("scipy", minversion="1.15")

# x is 6 x 4, in (0.5, 1.5).  Functions that derivatives go through, and functions that give values only.
DIFFERENTIABLE = {
    "special.logsumexp": "special.logsumexp(x, axis=0)",
    "special.softmax": "special.softmax(x, axis=1)",
    "special.erf": "special.erf(x)",
    "special.gammaln": "special.gammaln(x)",
    "special.expit": "special.expit(x)",
    "special.xlogy": "special.xlogy(x, x + 1)",
    "special.entr": "special.entr(x)",
    "integrate.trapezoid": "integrate.trapezoid(x, axis=0)",
    "integrate.cumulative_trapezoid": "integrate.cumulative_trapezoid(x, axis=0)",
    "stats.skew": "stats.skew(x, axis=0)",
    "stats.kurtosis": "stats.kurtosis(x, axis=0)",
    "stats.moment": "stats.moment(x, 3, axis=0)",
    "stats.gmean": "stats.gmean(x, axis=0)",
    "stats.hmean": "stats.hmean(x, axis=0)",
    "stats.pmean": "stats.pmean(x, 2, axis=0)",
    "stats.sem": "stats.sem(x, axis=0)",
    "stats.entropy": "stats.entropy(x, axis=0)",
    "stats.kstat": "stats.kstat(x, 2, axis=0)",
    "optimize.rosen": "optimize.rosen(x)",
    "constants.convert_temperature": "constants.convert_temperature(x, 'C', 'K')",
    "cluster.whiten": "cluster.vq.whiten(x)",
}
VALUES = {
    "special.betainc": "special.betainc(x, x, x / 2)",
    "stats.zscore": "stats.zscore(x, axis=0)",
    "stats.rankdata": "stats.rankdata(x, axis=0)",
    "stats.ttest_ind": "stats.ttest_ind(x, x * 1.1, axis=0).statistic",
    "stats.quantile": "stats.quantile(x, 0.3, axis=0)",
    "integrate.tanhsinh": "integrate.tanhsinh(lambda t: xp.exp(-t * t), x[0] * 0, x[0]).integral",
    "integrate.cubature": "integrate.cubature(lambda t: xp.exp(-t[:, 0]), xp.zeros(1), xp.ones(1)).estimate",
    "optimize.find_root": (
        "elementwise.find_root(lambda t, c: t * t - c, (x[0] * 0, x[0] * 0 + 2), args=(x[0],)).x"
    ),
    "differentiate.jacobian": "differentiate.jacobian(lambda t: xp.exp(t), x[0]).df",
    "signal.savgol_filter": "signal.savgol_filter(x, 3, 1, axis=0)",
    "fft.dct": "fft.dct(x)",
}
PROGRAM = """
import json, sys, warnings
import numpy as np
from scipy import cluster, constants, differentiate, fft, integrate, optimize, signal, special, stats
import scipy.cluster.vq
from scipy.optimize import elementwise
import tapegrad as tg

warnings.simplefilter("ignore")
A = np.random.default_rng(0).uniform(0.5, 1.5, (6, 4))
W = np.random.default_rng(1).normal(size=(6, 4))
report = {}


def run(text, x, xp):
    names = {k: v for k, v in globals().items() if not k.startswith("_")}
    return eval(text, {**names, "x": x, "xp": xp})


for name, (text, smooth) in json.loads(sys.argv[1]).items():
    try:
        expected = np.asarray(run(text, A, np))
        out = run(text, tg.tensor(A), tg)
        assert isinstance(out, tg.Tensor), type(out)
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-9, atol=1e-12)
        if smooth:
            w = W.ravel()[: expected.size].reshape(expected.shape)
            f = lambda x: float(np.sum(np.asarray(run(text, x, np)) * w))
            x = tg.tensor(A, requires_grad=True)
            (run(text, x, tg) * w).sum().backward()
            step = 1e-6 * W
            slope = (f(A + step) - f(A - step)) / 2
            np.testing.assert_allclose((x.grad * step).sum().item(), slope, rtol=1e-6, atol=1e-13)
        report[name] = "ok"
    except Exception as error:
        report[name] = f"{type(error).__name__}: {error}"
try:
    signal.savgol_filter(tg.tensor(A, requires_grad=True), 3, 1, axis=0)
except RuntimeError as error:
    report["refusal"] = str(error)
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report():
    cases = {name: (text, True) for name, text in DIFFERENTIABLE.items()}
    cases |= {name: (text, False) for name, text in VALUES.items()}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(cases)],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, *VALUES])
def test_function(report, name):
    assert report[name] == "ok"


def test_what_scipy_converts_refuses_to_lose_a_gradient(report):
    assert "detach()" in report["refusal"]
