"""Blocks, cases, indices: NumPy's values in special cases, and errors."""

import numpy as np
import pytest

import tapegrad as tg

A, B = np.arange(6.0).reshape(2, 3), np.ones((2, 2))


def same(call):
    got, expected = call(tg), call(np)
    several = isinstance(expected, tuple)
    for g, e in zip(got if several else [got], expected if several else [expected], strict=True):
        assert g.shape == np.shape(e) and g.dtype == np.asarray(e).dtype
        np.testing.assert_array_equal(g.numpy(), e)


def test_blocks():
    same(lambda xp: xp.block([A, B]))
    same(lambda xp: xp.block([[A, B], [np.zeros((1, 5))]]))
    same(lambda xp: xp.block([[[A]], [[A + 1]]]))
    same(lambda xp: xp.block([1, np.array([2, 3]), 4.0]))
    same(lambda xp: xp.block(A))
    same(lambda xp: xp.block([[A[:, :, None], A[:, :, None]]]))
    x = tg.tensor(A, requires_grad=True)
    np.block([[x, x * 2]]).sum().backward()
    assert (x.grad.numpy() == 3).all()


def test_select():
    x = np.arange(-3.0, 4.0)
    same(lambda xp: xp.select([x < -1, x > 1], [x, x**2], 7))
    same(lambda xp: xp.select([x < -1, x < 2], [np.int8(1) * np.ones(7, np.int8), np.ones(7, np.int8)]))
    same(lambda xp: xp.select([x < 0], [np.arange(7)], 0.5))
    same(lambda xp: xp.select([(x < 0)[:, None]], [x], np.zeros((2, 1, 1))))
    t = tg.tensor(x, requires_grad=True)
    tg.select([x < 0, x >= 0], [t * 2, tg.sqrt(t)]).sum().backward()
    assert np.isfinite(t.grad.numpy()[:3]).all() and t.grad[0].item() == 2.0


def test_piecewise():
    points = np.linspace(-2, 2, 9)
    for x in (points, np.arange(-2, 3), np.float64(0.5)):
        same(lambda xp, x=x: xp.piecewise(x, [x < 0, x >= 0], [-1, 1]))
        same(lambda xp, x=x: xp.piecewise(x, [x < 0], [lambda v: v * 2, 5]))
        same(lambda xp, x=x: xp.piecewise(x, x > 0, [lambda v, k, j=0: v * k + j, 0], 3, j=2))
        same(lambda xp, x=x: xp.piecewise(x, [x > -1, x > 0], [1, 2]))
    np.testing.assert_array_equal(
        tg.vmap(lambda v: tg.piecewise(v, [v < 0], [lambda w: -w, tg.square]))(x * np.ones(3)),
        x**2 * np.ones(3),
    )
    again = tg.compile(lambda v: tg.piecewise(v, [v < 0], [lambda w: -w, tg.square]))
    assert [again(np.array([v])).tolist() for v in (2.0, -3.0)] == [[4.0], [3.0]]


def test_indices():
    for k in (-1, 0, 2):
        same(lambda xp, k=k: xp.tri(3, 4, k))
        same(lambda xp, k=k: xp.tril_indices(3, k, 4))
        same(lambda xp, k=k: xp.triu_indices(3, k, 4))
    same(lambda xp: xp.tri(2, dtype=np.int32))
    same(lambda xp: xp.diag_indices(2, 3))
    same(lambda xp: xp.indices((2, 3)))
    same(lambda xp: xp.indices((2, 3), sparse=True))
    same(lambda xp: xp.dstack([A, A + 1]))


def test_classes():
    assert tg.one_hot([1, 0], 3, dtype="float32").dtype == np.float32
    assert tg.one_hot(tg.tensor([[1]]), 2).tolist() == [[[0, 1]]]
    assert tg.one_hot(np.array([], int)).shape == (0, 0)
    torch = pytest.importorskip("torch")
    x = np.array([[2, 0], [1, 1]])
    np.testing.assert_array_equal(tg.one_hot(x).numpy(), torch.nn.functional.one_hot(torch.tensor(x)).numpy())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.block([[A], A]), ValueError, "block: list depths"),
        (lambda: tg.block([[A], []]), ValueError, "block: .*empty"),
        (lambda: tg.block((A, A)), TypeError, "block: .*tuples"),
        (lambda: tg.block([[A], [B]]), ValueError, "concat: .*"),
        (lambda: tg.select([], []), ValueError, "select: .*empty"),
        (lambda: tg.select([A > 1], []), ValueError, "select: .*same length"),
        (lambda: tg.select([A], [A]), TypeError, "select: .*boolean"),
        (lambda: tg.piecewise(A, [A > 1], [1, 2, 3]), ValueError, "piecewise: with 1 condition"),
        (lambda: tg.one_hot([0.5]), TypeError, "one_hot: .*float64"),
        (lambda: tg.one_hot([3], 3), IndexError, "one_hot: .*out of bounds"),
        (lambda: tg.embedding([0], A[0]), ValueError, "embedding: .*two axes"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
