"""Tensors print as PyTorch prints them."""

import numpy as np
import pytest

import tapegrad as tg

GOLDEN = [
    (3.0, "tensor(3.)"),
    (1 / 3, "tensor(0.3333)"),
    ([1.0, 2.0], "tensor([1., 2.])"),
    ([1.0, 2000.0], "tensor([1.0000e+00, 2.0000e+03])"),
    ([1e-5, 1.0], "tensor([1.0000e-05, 1.0000e+00])"),
    ([np.nan, 1.5, -np.inf], "tensor([   nan, 1.5000,   -inf])"),
    ([1, -2], "tensor([ 1, -2])"),
    ([True, False], "tensor([ True, False])"),
    ([], "tensor([])"),
    (np.zeros((0, 3)), "tensor([], size=(0, 3))"),
    (np.zeros(0, np.int64), "tensor([], dtype=int64)"),
    (np.float32([1.5]), "tensor([1.5000], dtype=float32)"),
    ([[1.0, -2.5], [3.0, 4.0]], "tensor([[ 1.0000, -2.5000],\n        [ 3.0000,  4.0000]])"),
]


@pytest.mark.parametrize(("data", "text"), GOLDEN)
def test_golden(data, text):
    assert repr(tg.tensor(data)) == text


def test_notes():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x) == "tensor([1., 2.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 4.], grad_fn=<MultiplyBackward>)"
    assert repr(tg.logical_not(x > 1)) == "tensor([ True, False])"
    assert repr(tg.tensor(1.0) + x.sum()).startswith("tensor(4., grad_fn=<")
    assert str(x) == repr(x) and f"{x}" == repr(x)
    assert f"{tg.tensor(1.25):.1f}" == "1.2"


def arrays():
    rng = np.random.default_rng(0)
    yield from (np.array(v) for v, _ in GOLDEN)
    yield from (rng.normal(size=s) for s in [(50,), (2000,), (50, 60), (20, 20, 20), (2, 40), (1, 1, 1)])
    yield from (np.arange(n) for n in (5, 30, 2000))
    yield from (np.array(v) for v in ([1e9, 1.0], [1e9], [0.0, -0.0], [np.nan, np.inf], [123456.5, 200000.0]))
    yield from (np.array([[1.0, np.inf], [2.0, 3.0]]), np.array(7), np.array([1, 2], np.uint8))
    yield rng.normal(size=(1001, 2)) > 0


def test_as_torch_prints():
    torch = pytest.importorskip("torch")
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        for array in arrays():
            for rg in {False, array.dtype.kind == "f"}:
                theirs = repr(torch.tensor(array, requires_grad=rg)).replace("torch.", "")
                ours = repr(tg.tensor(array, requires_grad=rg))
                assert ours == theirs.replace("size=(0,), ", ""), array.shape
    finally:
        torch.set_default_dtype(default)
