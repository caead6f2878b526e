"""Polynomials: degenerate ones, derivatives at zero, fits, errors."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)


def same(call, rtol=1e-10):
    got, expected = call(tg), call(np)
    several = isinstance(expected, tuple)
    for g, e in zip(got if several else [got], expected if several else [expected], strict=True):
        assert g.shape == np.shape(e) and g.dtype == np.asarray(e).dtype
        np.testing.assert_allclose(g.numpy(), e, rtol=rtol, atol=1e-12)


def test_degenerate_polynomials():
    for p in ([], [2.0], [0.0, 0.0, 1.0], [3, 2, 1]):
        same(lambda xp, p=p: xp.polyval(p, [1.0, 2.0]))
        for m in (0, 1, 2, 5):
            same(lambda xp, p=p, m=m: xp.polyder(np.ravel(p), m))
            same(lambda xp, p=p, m=m: xp.polyint(np.ravel(p), m))
    same(lambda xp: xp.polyint([1.0, 2.0], 3, [1, 2, 3]))
    same(lambda xp: xp.polyint([1.0, 2.0], 3, 4))
    same(lambda xp: xp.polyadd([1, 2], [3]))
    same(lambda xp: xp.polysub(2.0, [3, 1]))
    same(lambda xp: xp.polymul([1, 2, 3], [4.0]))
    for n in (None, 0, 1, 2, 6):
        for increasing in (False, True):
            same(lambda xp, n=n, i=increasing: xp.vander(np.array([0, 2, 3]), n, i))
            same(lambda xp, n=n, i=increasing: xp.vander(np.array([0.0, 2.0]), N=n, increasing=i))
    assert tg.vander(np.int8([1, 2]), 3).dtype == np.int8


def test_powers_of_zero_have_derivatives():
    check_grads(lambda x: tg.vander(x, 4), [np.array([0.0, 1.0, -2.0])], order=3)
    check_grads(tg.polyval, [np.array([1.0, 0.0, 3.0, 2.0]), np.array([0.0, 1.5])], order=3)


@pytest.mark.parametrize("shape", [(8,), (8, 2)])
@pytest.mark.parametrize("w", [None, RNG.uniform(0.5, 2.0, 8)])
def test_fits_are_numpys(shape, w):
    x, y = RNG.normal(size=8), RNG.normal(size=shape)
    for deg in (0, 1, 3):
        same(lambda xp, deg=deg: xp.polyfit(x, y, deg, w=w))
        same(lambda xp, deg=deg: xp.polyfit(x, y, deg, w=w, cov="unscaled"), 1e-8)
        same(lambda xp, deg=deg: xp.polyfit(x, y, deg, w=w, cov=True), 1e-8)
    same(lambda xp: xp.polyfit(np.arange(8), np.arange(8) ** 2, 2))


def test_derivatives_of_a_fit():
    x, y, w = RNG.normal(size=6), RNG.normal(size=6), RNG.uniform(0.5, 2.0, 6)
    check_grads(lambda x, y, w: tg.polyfit(x, y, 2, w=w), [x, y, w], order=1)
    check_grads(lambda x, y: tg.polyfit(x, y, 1, cov=True), [x, y], order=1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.polyval([[1.0]], 1.0), ValueError, "polyval: .*one-dimensional"),
        (lambda: tg.vander([[1.0]]), ValueError, "vander: .*one-dimensional"),
        (lambda: tg.vander([1.0], -1), ValueError, "vander: .*negative"),
        (lambda: tg.polyder([1.0], -1), ValueError, "polyder: order"),
        (lambda: tg.polyint([1.0], 2, [1.0, 2.0, 3.0]), ValueError, "polyint: k"),
        (lambda: tg.polyfit([1.0], [1.0], -1), ValueError, "polyfit: .*deg"),
        (lambda: tg.polyfit([[1.0]], [1.0], 1), TypeError, "polyfit: .*1D vector"),
        (lambda: tg.polyfit([1.0], [1.0, 2.0], 1), TypeError, "polyfit: .*same length"),
        (lambda: tg.polyfit([1.0], [1.0], 0, w=[1.0, 2.0]), TypeError, "polyfit: .*weights"),
        (lambda: tg.polyfit([1.0], [1.0], 0, full=True), ValueError, "polyfit: full=True"),
        (lambda: tg.polyfit([1.0, 2.0], [1.0, 2.0], 1, cov=True), ValueError, "polyfit: .*too few"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
