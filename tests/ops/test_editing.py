"""NumPy's functions that edit, choose, partition and compare sets: cases and errors beyond the samples."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
A = RNG.permutation(np.arange(12.0)).reshape(3, 4)
V = RNG.permutation(np.arange(5.0))


def same(out, expected):
    expected = np.asarray(expected)
    assert out.shape == expected.shape and out.dtype == expected.dtype
    np.testing.assert_array_equal(out.detach().numpy(), expected)


INSERTIONS = [
    (V, 2, 7.0, None),
    (V, -1, [7.0, 8.0], None),
    (V, [1], [7.0, 8.0], None),
    (V, [3, 0, 3], [7.0, 8.0, 9.0], None),
    (V, np.array([], int), [], None),
    (V, slice(1, 4, 2), [7.0, 8.0], None),
    (V, np.array([True, False, False, True, False]), 7.0, None),
    (V, 5, 7.0, None),
    (A, 1, [1.0, 2.0, 3.0, 4.0], 0),
    (A, 1, [1.0, 2.0, 3.0], 1),
    (A, [1], [[1.0], [2.0], [3.0]], 1),
    (A, [1, 3], [7.0, 8.0], 1),
    (A, 2, 7, None),
    (A, 1, [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], 0),
]


@pytest.mark.parametrize(("x", "obj", "values", "axis"), INSERTIONS)
def test_insert(x, obj, values, axis):
    if getattr(obj, "dtype", np.dtype(int)).kind == "b" and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("a mask meant zeros and ones as positions then")
    same(tg.insert(tg.tensor(x), obj, values, axis), np.insert(x, obj, values, axis))
    if np.size(values) and isinstance(obj, (int, list)):
        check_grads(lambda x, v: tg.insert(x, obj, v, axis) ** 2, (x, np.asarray(values, float)))


def test_insert_takes_tensors_for_positions():
    same(tg.insert(tg.tensor(V), tg.tensor([1, 3]), [7.0, 8.0]), np.insert(V, [1, 3], [7.0, 8.0]))
    same(tg.insert(tg.tensor([1, 2]), 1, 2.7), np.insert([1, 2], 1, 2.7))


DELETIONS = [2, -1, [0, 0, -1], slice(None, None, 2), np.array([], int)]


@pytest.mark.parametrize("obj", [*DELETIONS, V > 2])
def test_delete(obj):
    same(tg.delete(tg.tensor(V), obj), np.delete(V, obj))


@pytest.mark.parametrize("obj", DELETIONS)
@pytest.mark.parametrize("axis", [0, 1])
def test_delete_along_an_axis(obj, axis):
    same(tg.delete(tg.tensor(A), obj, axis), np.delete(A, obj, axis))


def test_choose():
    which, choices = np.array([[0, 1], [2, 1]]), [A[:2, :2], V[:2], 9.0]
    same(tg.choose(which, choices), np.choose(which, choices))
    same(tg.choose(tg.tensor(which) + 2, choices, mode="wrap"), np.choose(which + 2, choices, mode="wrap"))
    same(tg.choose(which - 1, choices, mode="clip"), np.choose(which - 1, choices, mode="clip"))
    check_grads(lambda x, y: tg.choose([[0, 1], [1, 0]], [x, y]) ** 2, (A[:2, :2], V[:2]))
    for bad in (3, -1):
        with pytest.raises(IndexError):
            tg.choose([[bad, 0]], choices).numpy()
    with pytest.raises(ValueError, match="choose: mode"):
        tg.choose(which, choices, mode="other")
    with pytest.raises(TypeError, match=r"choose: .*float64"):
        tg.choose(A, choices)


def test_masks():
    same(tg.compress([True, False], tg.tensor(A)), np.compress([True, False], A))
    same(tg.compress(tg.tensor([1, 0, 1]), tg.tensor(A), 0), np.compress([1, 0, 1], A, 0))
    same(tg.extract(A > 4, tg.tensor(A)), np.extract(A > 4, A))
    same(tg.trim_zeros(tg.tensor([0, 0, 1, 0]), "f"), np.trim_zeros(np.array([0, 0, 1, 0]), "f"))
    same(tg.trim_zeros(tg.tensor([0, 0, 1, 0]), "b"), np.trim_zeros(np.array([0, 0, 1, 0]), "b"))
    same(tg.trim_zeros(tg.zeros(3)), np.trim_zeros(np.zeros(3)))
    with pytest.raises(ValueError, match=r"compress: .*1-d"):
        tg.compress(A > 4, tg.tensor(A))
    with pytest.raises(ValueError, match="trim"):
        tg.trim_zeros(tg.tensor(V), "x")


def test_resize_and_append():
    same(tg.resize(tg.tensor(V), (2, 4)), np.resize(V, (2, 4)))
    same(tg.resize(tg.zeros(0), (2, 2)), np.resize(np.zeros(0), (2, 2)))
    same(tg.append(tg.tensor([1, 2]), [2.5]), np.append([1, 2], [2.5]))
    with pytest.raises(ValueError, match="resize"):
        tg.resize(tg.tensor(V), (-1, 2))


def test_splitting():
    for n in (1, 2, 3, 5, 7):
        for p, q in zip(tg.array_split(tg.tensor(V), n), np.array_split(V, n), strict=True):
            same(p, q)
    for p, q in zip(tg.hsplit(tg.tensor(V), [1, 3]), np.hsplit(V, [1, 3]), strict=True):
        same(p, q)
    for name, x in (("vsplit", V), ("dsplit", A), ("hsplit", np.float64(1.0))):
        with pytest.raises(ValueError, match=name):
            getattr(tg, name)(tg.tensor(x), 1)


def test_turning():
    for k in range(-5, 6):
        same(tg.rot90(tg.tensor(A), k), np.rot90(A, k))
    cube = np.arange(24.0).reshape(2, 3, 4)
    for axis in range(-3, 3):
        for start in range(-3, 4):
            same(tg.rollaxis(tg.tensor(cube), axis, start), np.rollaxis(cube, axis, start))
    with pytest.raises(ValueError, match="rot90: axes must be different"):
        tg.rot90(tg.tensor(A), axes=(0, -2))
    with pytest.raises(np.exceptions.AxisError, match="rollaxis"):
        tg.rollaxis(tg.tensor(A), 0, 3)


@pytest.mark.parametrize("k", range(-4, 6))
def test_diagonals(k):
    for x in (V, A, np.array([True, False, True]), np.zeros(0), np.array([1, 2], np.int8)):
        if x.ndim == 1:
            same(tg.diagflat(tg.tensor(x), k), np.diagflat(x, k))
        same(tg.diag(tg.tensor(x), k), np.diag(x, k))
    with pytest.raises(ValueError, match="diag"):
        tg.diag(tg.tensor(1.0))


def test_windows():
    windows = np.lib.stride_tricks.sliding_window_view
    same(tg.sliding_window_view(tg.tensor(A), (2, 2)), windows(A, (2, 2)))
    same(tg.sliding_window_view(tg.tensor(A), (2, 2), (1, 1)), windows(A, (2, 2), (1, 1)))
    with pytest.raises(ValueError, match="sliding_window_view"):
        tg.sliding_window_view(tg.tensor(A), 2)
    with pytest.raises(ValueError, match="does not fit"):
        tg.sliding_window_view(tg.tensor(V), 6)


def test_partitions():
    x = RNG.permutation(np.arange(20.0))
    out = tg.partition(tg.tensor(x), [3, 10]).numpy()
    assert out[3] == 3 and out[10] == 10
    assert x[tg.argpartition(tg.tensor(x), 7).numpy()][7] == 7
    with pytest.raises(ValueError, match=r"partition: kth.*\(20,\)"):
        tg.partition(tg.tensor(x), 20)
    with pytest.raises(TypeError, match="partition: kth"):
        tg.partition(tg.tensor(x), 1.5)


def test_lexsort_and_digitize():
    keys = RNG.integers(0, 3, (3, 10))
    same(tg.lexsort([tg.tensor(k) for k in keys]), np.lexsort(keys))
    for edges in ([0.0, 3.0, 7.0], [7.0, 3.0, 0.0], [2.0, 2.0], [1.0]):
        for right in (False, True):
            same(tg.digitize(tg.tensor(A), edges, right), np.digitize(A, edges, right))
    with pytest.raises(ValueError, match="digitize: bins must be monotonically"):
        tg.digitize(tg.tensor(A), [1.0, 3.0, 2.0])
    with pytest.raises(ValueError, match="lexsort"):
        tg.lexsort([[1, 2], [1]])


@pytest.mark.parametrize("name", ["union1d", "intersect1d", "setdiff1d", "setxor1d"])
def test_sets(name):
    for x, y in [([3, 1, 3], [2, 3]), ([], [1.0]), ([1.5, 2.0], [2, 1]), ([True], [False])]:
        x, y = np.asarray(x), np.asarray(y)
        same(getattr(tg, name)(tg.tensor(x), tg.tensor(y)), getattr(np, name)(x, y))


def test_products_of_vectors():
    m, v = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 4))
    np.testing.assert_allclose(tg.matvec(tg.tensor(m), v).numpy(), np.einsum("bij,bj->bi", m, v), rtol=1e-13)
    np.testing.assert_allclose(
        tg.vecmat(tg.tensor(v), m.swapaxes(1, 2)).numpy(), np.einsum("bj,bij->bi", v, m), rtol=1e-13
    )
    z = v + 1j * v[::-1]
    np.testing.assert_allclose(tg.vdot(tg.tensor(z), z).numpy(), np.vdot(z, z), rtol=1e-13)
    with pytest.raises(ValueError, match="vdot"):
        tg.vdot([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="matvec"):
        tg.matvec(tg.tensor(m), [1.0])
    with pytest.raises(ValueError, match="vecmat"):
        tg.vecmat([1.0], tg.tensor(m))
