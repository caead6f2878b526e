"""Reductions without NaNs where whole slices are NaN, and their derivatives there."""

import numpy as np
import pytest

import tapegrad as tg

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 5))
X[RNG.uniform(size=X.shape) < 0.3] = np.nan
X[1, 2] = np.nan
REDUCTIONS = ["nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_values_are_numpys(name, dtype):
    x = X.astype(dtype) if dtype != "int64" else np.arange(60).reshape(X.shape)
    for axis in (None, 0, -1, (0, 2), (1, 2)):
        for keepdims in (False, True):
            got = getattr(tg, name)(x, axis=axis, keepdims=keepdims)
            expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got.numpy(), expected, rtol=2e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_slice_of_nan_has_no_derivative(name):
    x = tg.tensor(X[1], requires_grad=True)
    out = getattr(tg, name)(x, axis=1)
    out[np.array([0, 1, 3])].sum().backward()
    g = x.grad.numpy()
    assert (g[np.isnan(X[1])] == 0).all() and np.isfinite(g).all()
    assert (g[[0, 1, 3]] != 0).any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_masks_and_initial_values():
    mask = RNG.uniform(size=X.shape) < 0.7
    for axis in (None, 1):
        for name in ("nansum", "nanprod", "nanmax", "nanmin"):
            for more in ({"initial": 0.5}, {"initial": 0.5, "where": mask}):
                got, expected = (getattr(xp, name)(X, axis=axis, **more) for xp in (tg, np))
                np.testing.assert_allclose(got.numpy(), expected, rtol=1e-13)
        for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd"):
            got, expected = (getattr(xp, name)(X, axis=axis, where=mask) for xp in (tg, np))
            np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
        for name in ("nanvar", "nanstd"):
            for more in (
                ({"mean": np.zeros((3, 1, 5))}, {"correction": 1}) if axis == 1 else ({"correction": 1},)
            ):
                got, expected = (getattr(xp, name)(X, axis=axis, **more) for xp in (tg, np))
                np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="nanvar: ddof and correction"):
        tg.nanvar(X, ddof=1, correction=1)


def test_cotangents_of_a_slice_of_nan():
    for name in ("nansum", "nanprod", "nanmax", "nanmin", "nancumsum", "nancumprod"):
        x = tg.tensor([np.nan, np.nan], requires_grad=True)
        getattr(tg, name)(x).sum().backward()
        assert x.grad.tolist() == [0.0, 0.0]


def test_positions():
    x = np.where(np.isnan(X).all(axis=1, keepdims=True), 0.0, X)
    for name in ("nanargmax", "nanargmin"):
        for axis in (None, 1):
            np.testing.assert_array_equal(getattr(tg, name)(x, axis=axis), getattr(np, name)(x, axis=axis))
        assert (
            getattr(tg, name)([[3, 1, 2]], axis=1).tolist() == getattr(np, name)([[3, 1, 2]], axis=1).tolist()
        )
        for value in ([np.nan, -np.inf, np.inf], [np.inf, np.nan, -np.inf]):
            assert getattr(tg, name)(value).item() == getattr(np, name)(value)
        with pytest.raises(ValueError, match=f"{name}: all-NaN slice"):
            getattr(tg, name)([[np.nan, np.nan], [1.0, 2.0]], axis=1).numpy()
        with pytest.raises(ValueError, match=f"{name}: .*empty"):
            getattr(tg, name)([])


def test_nan_to_num():
    x = np.array([np.nan, np.inf, -np.inf, 1.0])
    for dtype in ("float64", "float32"):
        for more in ({}, {"nan": 3.0}, {"posinf": 1.0, "neginf": -2.0}):
            got = tg.nan_to_num(x.astype(dtype), **more)
            np.testing.assert_array_equal(got.numpy(), np.nan_to_num(x.astype(dtype), **more))
            assert got.dtype == dtype
    t = tg.tensor(x, requires_grad=True)
    tg.nan_to_num(t).sum().backward()
    assert t.grad.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert tg.nan_to_num([1, 2]).tolist() == [1, 2] and tg.nan_to_num([True]).dtype == tg.bool
    with pytest.raises(ValueError, match="copy=False"):
        tg.nan_to_num(t, copy=False)
