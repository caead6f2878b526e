"""Gradients of samples, integrals, interpolation, unwrapping: what samples of the table do not reach."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient_takes_numpys_spacings(edge_order):
    f, x = RNG.normal(size=(4, 5)), np.cumsum(RNG.uniform(0.5, 1.0, 5))
    for spacing in ((), (0.5,), (0.5, 2.0), (np.float64(2.0), x), ([0.0, 1.0, 3.0, 3.5], x)):
        got, expected = (
            g.gradient(f, *spacing, edge_order=edge_order) for g in (tg, np)
        )  # a tuple of two, each
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-12, atol=1e-12)
    order = np.gradient(f, 2.0, 3.0, axis=(1, 0))
    for a, b in zip(tg.gradient(f, 2.0, 3.0, axis=(1, 0)), order, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-14)
    assert tg.gradient(np.arange(3)).dtype == np.float64
    assert tg.gradient(tg.tensor([1.0, 2.0], dtype="float32"), np.array([0.0, 2.0])).dtype == np.float32


def test_gradient_by_its_spacing():
    check_grads(lambda f, h: tg.gradient(f, h), [RNG.normal(size=4), 0.7])
    check_grads(lambda f, h: tg.gradient(f, h, edge_order=2), [RNG.normal(size=4), 0.7])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.gradient([1.0]), ValueError, "gradient: .*too small"),
        (lambda: tg.gradient([1.0, 2.0], edge_order=2), ValueError, "gradient: .*too small"),
        (lambda: tg.gradient([1.0, 2.0, 3.0], edge_order=3), ValueError, "edge_order"),
        (lambda: tg.gradient([1.0, 2.0], [0.0, 1.0, 2.0]), ValueError, r"gradient: .*\(3,\)"),
        (lambda: tg.gradient([1.0, 2.0], 1.0, 2.0), TypeError, "gradient: .*number of arguments"),
        (lambda: tg.gradient([1.0, 2.0], axis=1), np.exceptions.AxisError, "gradient"),
        (lambda: tg.interp(1.0, [], []), ValueError, "interp: .*empty"),
        (lambda: tg.interp(1.0, [1.0, 2.0], [1.0]), ValueError, r"interp: .*\(2,\) and \(1,\)"),
        (lambda: tg.interp(1.0, [1.0], [1.0], period=0), ValueError, "interp: period"),
        (lambda: tg.trapezoid([1.0, 2.0], x=[1.0, 2.0, 3.0]), ValueError, "trapezoid: .*shape"),
        (lambda: tg.cumulative_trapezoid([1.0, 2.0], initial=1.0), ValueError, "initial"),
        (lambda: tg.ediff1d(np.arange(3), to_end=0.5), TypeError, "ediff1d: .*float64"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_interp_outside_and_at_the_points():
    xp, fp = np.array([0.0, 1.0, 3.0]), np.array([1.0, 4.0, -2.0])
    x = np.array([-1.0, 0.0, 0.5, 1.0, 3.0, 3.5, np.nan, np.inf, -np.inf])
    for more in ({}, {"left": -7.0, "right": 9.0}, {"left": np.nan}):
        np.testing.assert_allclose(tg.interp(x, xp, fp, **more).numpy(), np.interp(x, xp, fp, **more))
    t = tg.tensor(x[:6], requires_grad=True)
    tg.interp(t, xp, fp).sum().backward()
    assert t.grad.tolist() == [0.0, 3.0, 3.0, -3.0, -3.0, 0.0]
    for n in (1, 2):
        np.testing.assert_allclose(tg.interp(x, xp[:n], fp[:n]).numpy(), np.interp(x, xp[:n], fp[:n]))
    assert tg.interp(0.5, [0, 1], [0, 10]).item() == 5.0


def test_interp_with_a_period():
    x = RNG.uniform(-20, 20, 50)
    xp, fp = np.array([190.0, -190.0, 350.0, -350.0]), np.array([5.0, 10.0, 3.0, 4.0])
    got = tg.interp(x * 20, xp, fp, period=360)
    np.testing.assert_allclose(got.numpy(), np.interp(x * 20, xp, fp, period=360), rtol=1e-12)


def test_interp_reaches_the_values_at_the_ends():
    xp, fp = tg.tensor([0.0, 1.0], requires_grad=True), tg.tensor([2.0, 5.0], requires_grad=True)
    tg.interp(tg.tensor([-1.0, 0.25, 2.0]), xp, fp).sum().backward()
    assert fp.grad.tolist() == [1.75, 1.25] and xp.grad.tolist() == [-2.25, -0.75]


@pytest.mark.parametrize("period", [2 * np.pi, 3.0, 4, 5])
def test_unwrap_as_numpy(period):
    x = RNG.uniform(-30, 30, (4, 50))
    for value in (x, np.round(x), x.astype(np.int64)):
        got, expected = tg.unwrap(value, period=period), np.unwrap(value, period=period)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_numpys_functions_come_here():
    x = tg.tensor([0.0, 1.0, 4.0], requires_grad=True)
    total = (
        np.gradient(x).sum() + np.interp(x, [0.0, 4.0], [0.0, 8.0]).sum() + np.trapezoid(x) + np.unwrap(x)[0]
    )
    total.backward()
    np.testing.assert_allclose(x.grad.numpy(), [-1.5 + 2 + 0.5 + 1, 2 + 1, 1.5 + 2 + 0.5])
