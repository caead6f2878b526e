"""Arguments by position and by name, as NumPy, the array API and PyTorch take them."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
A = RNG.permutation(np.arange(24.0)).reshape(2, 3, 4)
M = RNG.permutation(np.arange(12.0)).reshape(3, 4)
V = np.array([3.0, 1.0, 2.0])
ORDER = np.array([[0, 2], [1, 1], [3, 0]])


def same(out, expected):
    if isinstance(expected, (tuple, list)):
        assert len(out) == len(expected)
        for o, e in zip(out, expected, strict=True):
            same(o, e)
        return
    expected = np.asarray(expected)
    out = out.numpy()
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, rtol=1e-12)


# What NumPy itself takes: a function of the namespace, which is given NumPy or tapegrad.
FUNCTIONS = [
    lambda xp, a, m, v: xp.sum(a, 0),
    lambda xp, a, m, v: xp.sum(a, (0, 1)),
    lambda xp, a, m, v: xp.sum(a, 0, np.float32),
    lambda xp, a, m, v: xp.sum(a, axis=(0, -1), keepdims=True),
    lambda xp, a, m, v: xp.prod(v, 0),
    lambda xp, a, m, v: xp.mean(a, 1),
    lambda xp, a, m, v: xp.mean(a, (1, 2), np.float64),
    lambda xp, a, m, v: xp.max(a, 1),
    lambda xp, a, m, v: xp.amin(a, (0, 2)),
    lambda xp, a, m, v: xp.argmax(a, 1),
    lambda xp, a, m, v: xp.argmin(a, -1, keepdims=True),
    lambda xp, a, m, v: xp.any(a > 3, 1),
    lambda xp, a, m, v: xp.all(a > 3, (0, 1)),
    lambda xp, a, m, v: xp.count_nonzero(a, 0),
    lambda xp, a, m, v: xp.var(a, 0),
    lambda xp, a, m, v: xp.var(a, 0, np.float64, ddof=1),
    lambda xp, a, m, v: xp.std(a, (0, 1), dtype=np.float64, keepdims=True),
    lambda xp, a, m, v: xp.ptp(a, 1),
    lambda xp, a, m, v: xp.average(m, 0),
    lambda xp, a, m, v: xp.average(m, 0, v),
    lambda xp, a, m, v: xp.average(m, weights=m),
    lambda xp, a, m, v: xp.median(m, 1),
    lambda xp, a, m, v: xp.cumsum(a, 1),
    lambda xp, a, m, v: xp.cumprod(v, 0, np.float64),
    lambda xp, a, m, v: xp.diff(a, 2, 0),
    lambda xp, a, m, v: xp.diff(v, 1, -1, v[:1], v[:2]),
    lambda xp, a, m, v: xp.clip(v, 1.5, 2.5),
    lambda xp, a, m, v: xp.clip(v, None, 2.5),
    lambda xp, a, m, v: xp.clip(v, a_min=1.5, a_max=2.5),
    lambda xp, a, m, v: xp.sort(m, 0),
    lambda xp, a, m, v: xp.sort(m, None, "stable"),
    lambda xp, a, m, v: xp.argsort(m, 0, kind="stable"),
    lambda xp, a, m, v: xp.searchsorted(xp.sort(v), m, "right"),
    lambda xp, a, m, v: xp.take(m, [2, 0], 0),
    lambda xp, a, m, v: xp.take(m, indices=[2, 0], axis=1),
    lambda xp, a, m, v: xp.take_along_axis(m, ORDER, 1),
    lambda xp, a, m, v: xp.take_along_axis(m, indices=ORDER, axis=1),
    lambda xp, a, m, v: xp.repeat(m, 2, 1),
    lambda xp, a, m, v: xp.repeat(m, repeats=[1, 0, 2], axis=0),
    lambda xp, a, m, v: xp.tile(m, 2),
    lambda xp, a, m, v: xp.tile(m, reps=(2, 1)),
    lambda xp, a, m, v: xp.roll(m, 1, 0),
    lambda xp, a, m, v: xp.roll(m, shift=(1, 2), axis=(0, 1)),
    lambda xp, a, m, v: xp.flip(m, 0),
    lambda xp, a, m, v: xp.flip(a, (0, 2)),
    lambda xp, a, m, v: xp.concatenate([m, m], 1),
    lambda xp, a, m, v: xp.concatenate((m, m), axis=None),
    lambda xp, a, m, v: xp.stack([m, m], 1),
    lambda xp, a, m, v: xp.split(m, 2, 1),
    lambda xp, a, m, v: xp.split(m, [1, 3], axis=1),
    lambda xp, a, m, v: xp.split(m, indices_or_sections=3),
    lambda xp, a, m, v: xp.pad(v, (1, 2)),
    lambda xp, a, m, v: xp.pad(m, 1, "constant", constant_values=2.0),
    lambda xp, a, m, v: xp.pad(m, pad_width=((0, 1), (2, 0)), mode="edge"),
    lambda xp, a, m, v: xp.reshape(m, (2, 6)),
    lambda xp, a, m, v: xp.reshape(m, -1),
    lambda xp, a, m, v: xp.transpose(a),
    lambda xp, a, m, v: xp.transpose(a, (1, 0, 2)),
    lambda xp, a, m, v: xp.transpose(a, axes=[2, 0, 1]),
    lambda xp, a, m, v: xp.swapaxes(a, 0, 2),
    lambda xp, a, m, v: xp.swapaxes(a, axis1=0, axis2=1),
    lambda xp, a, m, v: xp.moveaxis(a, 0, -1),
    lambda xp, a, m, v: xp.moveaxis(a, source=(0, 1), destination=(1, 2)),
    lambda xp, a, m, v: xp.expand_dims(m, 1),
    lambda xp, a, m, v: xp.expand_dims(m, (0, 2)),
    lambda xp, a, m, v: xp.squeeze(m[None], 0),
    lambda xp, a, m, v: xp.broadcast_to(v, (2, 3)),
    lambda xp, a, m, v: xp.broadcast_to(v, shape=(2, 3)),
    lambda xp, a, m, v: xp.ravel(a),
    lambda xp, a, m, v: xp.diagonal(a, 1, 1, 2),
    lambda xp, a, m, v: xp.trace(a, 0, 1, 2),
    lambda xp, a, m, v: xp.tril(m, -1),
    lambda xp, a, m, v: xp.triu(m, k=1),
    lambda xp, a, m, v: xp.where(m > 3, m, 0.0),
    lambda xp, a, m, v: xp.where(m > 3),
    lambda xp, a, m, v: xp.nonzero(m),
    lambda xp, a, m, v: xp.tensordot(m, m, 2),
    lambda xp, a, m, v: xp.tensordot(m, a, ([0], [1])),
    lambda xp, a, m, v: xp.tensordot(m, m, axes=(1, 1)),
    lambda xp, a, m, v: xp.einsum("ij,kj", m, m),
    lambda xp, a, m, v: xp.einsum("ij,kj->ik", m, m, optimize=False),
    lambda xp, a, m, v: xp.outer(v, v),
    lambda xp, a, m, v: xp.dot(v, m),
]

# As methods: what arrays of NumPy have too.
METHODS = [
    lambda a, m, v: a.sum(0),
    lambda a, m, v: a.sum((0, 1)),
    lambda a, m, v: a.sum(axis=1, keepdims=True),
    lambda a, m, v: a.mean(-1),
    lambda a, m, v: a.max(0),
    lambda a, m, v: a.min((0, 1)),
    lambda a, m, v: a.argmax(0),
    lambda a, m, v: a.std(0, ddof=1),
    lambda a, m, v: v.prod(),
    lambda a, m, v: a.cumsum(1),
    lambda a, m, v: a.reshape(4, 6),
    lambda a, m, v: a.reshape((4, 6)),
    lambda a, m, v: a.reshape(-1),
    lambda a, m, v: m.transpose(1, 0),
    lambda a, m, v: a.transpose(1, 0, 2),
    lambda a, m, v: a.transpose((1, 0, 2)),
    lambda a, m, v: a.transpose(),
    lambda a, m, v: a.swapaxes(0, 1),
    lambda a, m, v: a.T,
    lambda a, m, v: m[None].squeeze(0),
    lambda a, m, v: m.take([2, 0], 0),
    lambda a, m, v: m.take([[2, 0]], axis=1),
    lambda a, m, v: m.repeat(2, 1),
    lambda a, m, v: v.clip(1.5, 2.5),
    lambda a, m, v: v.clip(max=2.5),
    lambda a, m, v: m.diagonal(1),
    lambda a, m, v: m.trace(1),
    lambda a, m, v: m.ravel(),
    lambda a, m, v: m.flatten(),
    lambda a, m, v: m.argsort(0),
    lambda a, m, v: m.dot(m.T),
    lambda a, m, v: (m > 3).nonzero(),
    lambda a, m, v: (m > 3).any(1),
]

# What PyTorch and the array API call by other names or other ways: with what NumPy makes of it.
OTHERS = [
    (lambda a, m, v: a.sum(0, True), A.sum(0, keepdims=True)),
    (lambda a, m, v: a.mean((0, 1), keepdim=True), A.mean((0, 1), keepdims=True)),
    (lambda a, m, v: a.mean(0, True), A.mean(0, keepdims=True)),
    (lambda a, m, v: a.amax(0, True), A.max(0, keepdims=True)),
    (lambda a, m, v: a.var(dim=0, correction=1), A.var(0, ddof=1)),
    (lambda a, m, v: a.logsumexp(0, True), np.log(np.exp(A).sum(0, keepdims=True))),
    (lambda a, m, v: a.softmax(-1), np.exp(A) / np.exp(A).sum(-1, keepdims=True)),
    (lambda a, m, v: a.softmax(dim=0), np.exp(A) / np.exp(A).sum(0, keepdims=True)),
    (lambda a, m, v: tg.cumulative_sum(v, axis=0, include_initial=True), [0.0, 3.0, 4.0, 6.0]),
    (lambda a, m, v: a.cumsum(dim=1), A.cumsum(1)),
    (lambda a, m, v: v.argsort(0, True), [0, 2, 1]),
    (lambda a, m, v: v.sort(descending=True), [3.0, 2.0, 1.0]),
    (lambda a, m, v: a.permute(2, 0, 1), A.transpose(2, 0, 1)),
    (lambda a, m, v: a.permute((2, 0, 1)), A.transpose(2, 0, 1)),
    (lambda a, m, v: a.permute(dims=(2, 0, 1)), A.transpose(2, 0, 1)),
    (lambda a, m, v: tg.permute_dims(a, axes=(2, 0, 1)), A.transpose(2, 0, 1)),
    (lambda a, m, v: a.transpose(0, 2), A.swapaxes(0, 2)),
    (lambda a, m, v: a.transpose(dim0=0, dim1=1), A.swapaxes(0, 1)),
    (lambda a, m, v: a.swapaxes(dim0=0, dim1=1), A.swapaxes(0, 1)),
    (lambda a, m, v: a.view(6, -1), A.reshape(6, 4)),
    (lambda a, m, v: a.view((6, 4)), A.reshape(6, 4)),
    (lambda a, m, v: tg.reshape(a, shape=(6, 4)), A.reshape(6, 4)),
    (lambda a, m, v: a.flatten(1), A.reshape(2, 12)),
    (lambda a, m, v: m.unsqueeze(0), M[None]),
    (lambda a, m, v: m.unsqueeze(dim=-1), M[..., None]),
    (lambda a, m, v: m[None].squeeze(dim=0), M),
    (lambda a, m, v: m.expand(2, -1, -1), np.broadcast_to(M, (2, 3, 4))),
    (lambda a, m, v: v.tile(2, 1), np.tile(V, (2, 1))),
    (lambda a, m, v: v.tile(dims=(2, 1)), np.tile(V, (2, 1))),
    (lambda a, m, v: a.flip(0, 1), np.flip(A, (0, 1))),
    (lambda a, m, v: a.flip(dims=(0, 1)), np.flip(A, (0, 1))),
    (lambda a, m, v: m.roll(1, 0), np.roll(M, 1, 0)),
    (lambda a, m, v: m.roll(shifts=1, dims=1), np.roll(M, 1, 1)),
    (lambda a, m, v: tg.cat([m, m], dim=1), np.concatenate([M, M], 1)),
    (lambda a, m, v: tg.concat([m, m], 1), np.concatenate([M, M], 1)),
    (lambda a, m, v: tg.stack([m, m], dim=-1), np.stack([M, M], -1)),
    (lambda a, m, v: a.unbind(1), list(A.swapaxes(0, 1))),
    (lambda a, m, v: a.unbind(dim=1), list(A.swapaxes(0, 1))),
    (lambda a, m, v: tg.unstack(a, axis=1), list(A.swapaxes(0, 1))),
    (lambda a, m, v: m.chunk(2, 1), [M[:, :2], M[:, 2:]]),
    (lambda a, m, v: m.repeat_interleave(2, dim=0), np.repeat(M, 2, 0)),
    (lambda a, m, v: m.index_select(1, tg.tensor([0, 2])), M[:, [0, 2]]),
    (lambda a, m, v: m.take_along_dim(tg.tensor(ORDER), dim=1), np.take_along_axis(M, ORDER, 1)),
    (lambda a, m, v: m.gather(1, tg.tensor(ORDER[:2])), np.take_along_axis(M[:2], ORDER[:2], 1)),
    (lambda a, m, v: m.clamp(min=3.0), M.clip(3.0)),
    (lambda a, m, v: tg.clip(m, min=3.0, max=5.0), M.clip(3.0, 5.0)),
    (lambda a, m, v: m.tril(diagonal=-1), np.tril(M, -1)),
    (lambda a, m, v: m.diagonal(dim1=1, dim2=0), np.diagonal(M.T)),
    (lambda a, m, v: tg.tensordot(m, m, dims=2), np.tensordot(M, M, 2)),
    (lambda a, m, v: tg.vecdot(a, a, axis=0), (A * A).sum(0)),
    (lambda a, m, v: v.where(v > 1.5, 0.0), np.where(V > 1.5, V, 0.0)),
    (lambda a, m, v: m.masked_fill(m > 3, 0.0), np.where(M > 3, 0.0, M)),
    (lambda a, m, v: a.movedim(0, 2), np.moveaxis(A, 0, 2)),
    (lambda a, m, v: tg.searchsorted(v.sort(), m, right=True), np.searchsorted(np.sort(V), M, "right")),
]


@pytest.mark.parametrize("k", range(len(FUNCTIONS)))
def test_functions(k):
    function = FUNCTIONS[k]
    expected = function(np, A, M, V)
    tensors = tg.tensor(A), tg.tensor(M), tg.tensor(V)
    same(function(tg, *tensors), expected)
    same(function(np, *tensors), expected)  # through NumPy's dispatch


@pytest.mark.parametrize("k", range(len(METHODS)))
def test_methods(k):
    same(METHODS[k](tg.tensor(A), tg.tensor(M), tg.tensor(V)), METHODS[k](A, M, V))


@pytest.mark.parametrize("k", range(len(OTHERS)))
def test_other_names(k):
    function, expected = OTHERS[k]
    same(function(tg.tensor(A), tg.tensor(M), tg.tensor(V)), expected)


def test_gradients_reach_weights():
    def average(x, w):
        return tg.average(x, 0, w)

    check_grads(average, (M, V))


@pytest.mark.parametrize("axis", [0, -1, None])
def test_put_along_axis(axis):
    index = np.array([5, 0, 7]) if axis is None else np.array([[2, 0, 1, 1]]) if axis == 0 else ORDER
    values = np.arange(index.size, dtype=float).reshape(index.shape)
    expected = M.copy()
    np.put_along_axis(expected, index, values, axis)
    for idx in (index, tg.tensor(index)):
        x = tg.tensor(M)
        v = tg.tensor(values, requires_grad=True)
        tg.put_along_axis(x, idx, v, axis)
        same(x.detach(), expected)
        (x * x).sum().backward()
        written = expected.ravel()[index] if axis is None else np.take_along_axis(expected, index, axis)
        last = written == values
        np.testing.assert_allclose(v.grad.numpy()[last], 2 * values[last])


def test_scatter_add():
    index, source = tg.tensor([[0, 0], [2, 1]]), tg.tensor(RNG.normal(size=(2, 3)), requires_grad=True)
    x = tg.tensor(M, requires_grad=True)
    out = x.scatter_add(1, index, source)
    expected = M.copy()
    np.add.at(expected, (np.array([[0], [1]]), index.numpy()), source.detach().numpy()[:, :2])
    same(out.detach(), expected)
    (out * out).sum().backward()
    same(x.grad, 2 * expected)
    assert source.grad.shape == (2, 3) and not source.grad.numpy()[:, 2].any()
    with pytest.raises(ValueError, match=r"scatter_add: .*\(3, 4\)"):
        x.scatter_add(0, tg.tensor([0]), source)


@pytest.mark.parametrize(
    ("call", "error", "begin"),
    [
        (lambda m: m.take([3], 0), IndexError, r"take: index 3 .*\(3, 4\)"),
        (lambda m: m[1:, 4], IndexError, r"getitem: index 4 .* axis 1 .*\(3, 4\)"),
        (lambda m: m[..., 4], IndexError, r"getitem: index 4 .* axis 1 .*\(3, 4\)"),
        (lambda m: m[..., 0, 0, 0], IndexError, r"getitem: too many .*\(3, 4\)"),
        (lambda m: m[::0], ValueError, "getitem: slice step"),
        (lambda m: m[1.5:], TypeError, "getitem: slice indices"),
        (lambda m: m[tg.tensor([7])], IndexError, r"getitem: index 7 .*\(3, 4\)"),
        (lambda m: m.__setitem__((0, 0, 0), 1.0), IndexError, r"setitem: too many .*\(3, 4\)"),
        (lambda m: m.__setitem__([5], 1.0), IndexError, r"setitem: index 5 .*\(3, 4\)"),
        (lambda m: m.gather(0, tg.tensor([0])), ValueError, r"gather: .*\(3, 4\)"),
        (lambda m: m.gather(0, tg.tensor([[9]])), IndexError, r"gather: index .*\(3, 4\)"),
        (lambda m: tg.put_along_axis(m, [[9, 0, 0, 0]], 1.0, 0), IndexError, "put_along_axis: index 9"),
        (lambda m: tg.masked_select(m, [True, False]), ValueError, "masked_select: "),
        (lambda m: tg.where(m > 0, m), ValueError, "where: "),
        (lambda m: m.sum(foo=1), TypeError, "sum"),
    ],
)
def test_errors(call, error, begin):
    with pytest.raises(error, match=begin):
        call(tg.tensor(M))
