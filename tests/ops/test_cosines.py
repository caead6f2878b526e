"""Cosine and sine transforms: SciPy's values at any length, its errors, orthogonality, derivatives."""

import itertools

import numpy as np
import pytest
import scipy.fft

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
NAMES = ["dct", "idct", "dst", "idst"]
NORMS = [None, "backward", "ortho", "forward"]
TYPES = [1, 2, 3, 4]


def wrong_in_scipy(name, kind, norm, orthogonalize=None):
    """Old versions scale the first number of sine transforms where it should be the last."""
    orthogonal = norm == "ortho" if orthogonalize is None else orthogonalize
    matrix = scipy.fft.dst(np.eye(3), norm="ortho")
    return orthogonal and "dst" in name and kind in (2, 3) and not np.allclose(matrix @ matrix.T, np.eye(3))


def close(got, expected, tolerance=2e-14):
    got = got.detach().numpy()
    assert got.shape == expected.shape and got.dtype == expected.dtype
    size = np.sqrt(np.mean(np.abs(expected) ** 2)) if expected.size else 1.0
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=10 * tolerance * max(size, 1e-300))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TYPES)
def test_every_length(name, kind):
    for n in [*range(2 if kind == 1 and "dct" in name else 1, 20), 64, 97, 100, 257]:
        x = RNG.standard_normal((n, 3))
        close(getattr(tg.fft, name)(x, kind, axis=0), getattr(scipy.fft, name)(x, kind, axis=0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("orthogonalize", [None, True, False])
def test_lengths_and_norms(name, kind, orthogonalize):
    x = RNG.standard_normal((4, 6, 3))
    for norm, n, axis in itertools.product(NORMS, (None, 2, 5, 8), (0, -1)):
        if wrong_in_scipy(name, kind, norm, orthogonalize):
            continue
        ours, scipys = (
            getattr(f, name)(x, kind, n, axis, norm, orthogonalize=orthogonalize) for f in (tg.fft, scipy.fft)
        )
        close(ours, scipys)


@pytest.mark.parametrize("name", ["dctn", "idctn", "dstn", "idstn"])
@pytest.mark.parametrize("kind", TYPES)
def test_several_axes(name, kind):
    x = RNG.standard_normal((3, 4, 5))
    for norm in NORMS:
        if wrong_in_scipy(name, kind, norm):
            continue
        for case in ({}, {"axes": (2, 0)}, {"s": (4, 3), "axes": (0, 1)}, {"s": (2, 6)}):
            close(
                getattr(tg.fft, name)(x, kind, norm=norm, **case),
                getattr(scipy.fft, name)(x, kind, norm=norm, **case),
            )


@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name):
    x = np.arange(1, 7)
    for dtype, tolerance in (("float32", 2e-6), ("complex64", 2e-6), ("complex128", 2e-14)):
        a = (x * (1 + 2j)).astype(dtype) if dtype.startswith("c") else x.astype(dtype)
        for kind in TYPES:
            close(getattr(tg.fft, name)(a, kind), getattr(scipy.fft, name)(a, kind), tolerance)
    close(getattr(tg.fft, name)(x), getattr(scipy.fft, name)(x.astype(float)))


@pytest.mark.parametrize("pair", [("dct", "idct"), ("dst", "idst")])
@pytest.mark.parametrize("kind", TYPES)
def test_inverses_and_orthogonality(pair, kind):
    forward, back = (getattr(tg.fft, name) for name in pair)
    for n in (2, 7, 12):
        eye = np.eye(n)
        for norm in NORMS:
            np.testing.assert_allclose(
                back(forward(eye, kind, norm=norm), kind, norm=norm).numpy(), eye, atol=1e-14
            )
        matrix = forward(eye, kind, norm="ortho").numpy()
        np.testing.assert_allclose(matrix @ matrix.T, eye, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TYPES)
def test_derivatives(name, kind):
    for n, norm in ((5, None), (6, "ortho")):
        function = getattr(tg.fft, name)
        x = RNG.standard_normal((2, n))
        check_grads(lambda x: tg.sin(function(x, kind, norm=norm)), [x], order=2, modes=("rev", "fwd"))  # noqa: B023


def test_vmap_and_compile():
    x = RNG.standard_normal((3, 8))
    close(tg.vmap(tg.fft.dct)(tg.tensor(x)), scipy.fft.dct(x))
    fast = tg.compile(tg.value_and_grad(lambda x: tg.sum(tg.fft.dstn(x, 3) ** 4)))
    for _ in range(2):
        value, gradient = fast(x)
    plain = tg.value_and_grad(lambda x: tg.sum(tg.fft.dstn(x, 3) ** 4))(x)
    assert value == pytest.approx(plain[0], rel=1e-13)
    np.testing.assert_allclose(gradient, plain[1], rtol=1e-11)


@pytest.mark.parametrize("error, match, call", [
    (ValueError, "dct: the type must be 1, 2, 3 or 4, not 5", lambda x: tg.fft.dct(x, 5)),
    (ValueError, r"dct: invalid number of data points \(0\)", lambda x: tg.fft.dct(x, n=0)),
    (ValueError, "idct: type 1 takes at least two", lambda x: tg.fft.idct(x, 1, n=1)),
    (ValueError, "dst: invalid norm 'unitary'", lambda x: tg.fft.dst(x, norm="unitary")),
    (np.exceptions.AxisError, "dst", lambda x: tg.fft.dst(x, axis=1)),
    (ValueError, "dctn: shape .* and axes .* have different", lambda x: tg.fft.dctn(x, s=(2, 3), axes=(0,))),
    (TypeError, "workers", lambda x: tg.fft.dct(x, workers=2)),
    (TypeError, "overwrite_x", lambda x: tg.fft.dct(x, overwrite_x=True)),
])  # fmt: skip
def test_errors(error, match, call):
    with pytest.raises(error, match=match):
        call(tg.tensor([1.0, 2.0, 3.0]))
