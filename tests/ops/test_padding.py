"""Padding in all of NumPy's modes, with their options, and what is refused."""

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
OPTIONS = [
    ("constant", {}),
    ("constant", {"constant_values": ((1, 2), (3, 4))}),
    ("edge", {}),
    ("wrap", {}),
    *[(m, {"reflect_type": t}) for m in ("reflect", "symmetric") for t in ("even", "odd")],
    ("linear_ramp", {}),
    ("linear_ramp", {"end_values": ((5, -7), (1, 0))}),
    *[(m, {}) for m in ("maximum", "minimum", "mean", "median")],
    *[(m, {"stat_length": ((2, 1), (1, 3))}) for m in ("maximum", "minimum", "mean", "median")],
]


@pytest.mark.parametrize(("mode", "options"), OPTIONS, ids=str)
def test_values_are_numpys(mode, options):
    x = RNG.normal(size=(3, 4))
    for widths, value in itertools.product(
        (2, (1, 0), ((0, 3), (7, 1)), ((5, 9), (0, 0))), (x, np.round(x * 9).astype(np.int32), x[:, :1])
    ):
        got, expected = tg.pad(value, widths, mode, **options), np.pad(value, widths, mode, **options)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-13, atol=1e-13)


def test_other_forms():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(tg.pad(x, {-1: (1, 2)}).numpy(), np.pad(x, ((0, 0), (1, 2))))
    np.testing.assert_array_equal(tg.pad(x, {0: 1}).numpy(), np.pad(x, ((1, 1), (0, 0))))
    assert tg.pad(x, 1, "empty").shape == (4, 5) and tg.pad(3.0, 0).item() == 3.0
    assert tg.pad(tg.zeros((0, 2)), ((1, 1), (0, 0))).shape == (2, 2)
    assert tg.pad(tg.tensor([True]), 1).dtype == tg.bool
    z = np.array([1 + 2j, 3 - 1j])
    np.testing.assert_allclose(tg.pad(z, 2, "linear_ramp").numpy(), np.pad(z, 2, "linear_ramp"))


def test_gradients_reach_the_constant():
    check_grads(lambda x, c: tg.pad(x, (1, 2), constant_values=c) ** 2, [np.ones(3), np.array(2.0)])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.pad([1.0], 1, "mirror"), ValueError, "pad: mode 'mirror'"),
        (lambda: tg.pad([1.0], 1, lambda *_: None), ValueError, "pad: mode .*not supported"),
        (lambda: tg.pad([1.0], 1, "edge", constant_values=1), ValueError, "pad: .*constant_values"),
        (lambda: tg.pad([1.0], 1.5), TypeError, "pad: pad_width"),
        (lambda: tg.pad([1.0], -1), ValueError, "pad: .*negative"),
        (lambda: tg.pad([1.0], ((1, 2), (3, 4))), ValueError, "pad: pad_width of shape"),
        (lambda: tg.pad([], 1, "edge"), ValueError, "pad: can't extend empty axis 0"),
        (lambda: tg.pad([1.0], 1, "maximum", stat_length=0), ValueError, "pad: stat_length of 0"),
        (lambda: tg.pad([1.0], 1, "reflect", reflect_type="both"), ValueError, "pad: reflect_type"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
