"""Reading and writing by index: NumPy is the judge, for values, shapes, errors and gradients."""

import numpy as np
import pytest

import tapegrad as tg

SHAPES = [(), (3,), (4, 3), (2, 3, 4), (2, 3, 4, 2), (0, 3), (3, 0, 2)]


def random_key(shape, rng):
    """Any mixture of integers, slices, new axes, an ellipsis, integer arrays and masks."""
    joint = tuple(int(n) for n in rng.integers(1, 4, size=rng.integers(0, 3)))
    key, axis, dots = [], 0, False
    while axis < len(shape) and rng.random() < 0.85:
        n, kind = shape[axis], rng.integers(0, 7)
        if kind == 0:
            key.append(None)
            continue
        if kind == 1 and not dots:
            key.append(Ellipsis)
            dots = True
            if rng.random() < 0.5:
                break
            continue
        if kind == 2 and n:
            key.append(int(rng.integers(-n, n)))
        elif kind in (3, 4) and n:
            key.append(rng.integers(-n, n, size=[m if rng.random() < 0.7 else 1 for m in joint]))
        elif kind == 5 and not joint:
            key.append(rng.random(n) < 0.5)
        else:
            start, stop = (None if rng.random() < 0.4 else int(rng.integers(-n - 2, n + 3)) for _ in "ab")
            key.append(slice(start, stop, int(rng.choice([-2, -1, 1, 1, 2]))))
        axis += 1
    return tuple(key)


def as_user(key, rng):
    """The same key with tensors and lists for some of the arrays."""
    out = []
    for k in key:
        if isinstance(k, np.ndarray):
            kind = rng.integers(0, 3)
            k = tg.tensor(k) if kind == 0 else k.tolist() if kind == 1 and k.size and k.ndim else k
        out.append(k)
    return out[0] if len(out) == 1 and rng.random() < 0.5 else tuple(out)


def grad_or_zeros(x):
    return np.zeros(x.shape) if x.grad is None else x.grad.numpy()


def check_read(a, key, user_key, rng):
    x = tg.tensor(a, requires_grad=True)
    try:
        expected = np.asarray(a[key])
    except IndexError:
        with pytest.raises(IndexError, match="getitem"):
            x[user_key].detach().numpy()
        return False
    out = x[user_key]
    assert out.shape == expected.shape
    np.testing.assert_array_equal(out.detach().numpy(), expected)
    g = rng.standard_normal(expected.shape)
    out.backward(tg.tensor(g))
    gx = np.zeros_like(a)
    np.add.at(gx, key, g)
    np.testing.assert_allclose(x.grad.numpy(), gx, atol=1e-14)
    return True


def check_write(a, key, user_key, rng):
    places = a[key].shape
    own = tuple(n if rng.random() < 0.7 else 1 for n in places)[int(rng.integers(0, len(places) + 1)) :]
    v = rng.standard_normal(own)
    expected = a.copy()
    expected[key] = v
    x, value = tg.tensor(a, requires_grad=True), tg.tensor(v, requires_grad=True)
    y = x * 1.0
    y[user_key] = value
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    g = rng.standard_normal(a.shape)
    y.backward(tg.tensor(g))
    gx = g.copy()
    gx[key] = 0
    np.testing.assert_array_equal(grad_or_zeros(x), gx)
    # Which element of v each place shows: only the last write to a place counts.
    writer = np.full(a.shape, -1)
    writer[key] = np.broadcast_to(np.arange(v.size).reshape(own), places)
    gv = np.zeros(v.size)
    np.add.at(gv, writer[writer >= 0], g[writer >= 0])
    np.testing.assert_allclose(grad_or_zeros(value), gv.reshape(own), atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_keys(shape):
    rng = np.random.default_rng(len(shape) + sum(shape))
    for _ in range(60):
        a = rng.standard_normal(shape)
        key = random_key(shape, rng)
        user_key = as_user(key, rng)
        if check_read(a, key, user_key, rng):
            check_write(a, key, user_key, rng)


@pytest.mark.parametrize(
    "key",
    [
        (slice(None), [0, 1], slice(None), [1, 0]),
        ([0, 1], slice(None), [1, 0]),
        (0, slice(None), [1, 0]),
        (None, slice(None), -1, Ellipsis, [[0], [1]]),
        (-1, -2, Ellipsis, [True, False, True, True], 0),
        ([[True, False, True], [False, False, True]],),
        (Ellipsis, 0),
        (True, 0),
        (),
    ],
    ids=str,
)
def test_positions_follow_numpy(key):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2, 3, 4, 2))
    arrays = tuple(np.array(k) if isinstance(k, list) else k for k in key)
    assert check_read(a, arrays, key, rng)
    check_write(a, arrays, key, rng)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, "index 3 is out of bounds for axis 0 with size 3"),
        (-4, "index -4 is out of bounds for axis 0 with size 3"),
        ((0, 2), "index 2 is out of bounds for axis 1 with size 2"),
        ((0, 0, 0), "array is 2-dimensional, but 3 were indexed"),
        ((Ellipsis, Ellipsis), "single ellipsis"),
        ([5], "index 5 is out of bounds for axis 0 with size 3"),
        ([True, False], "boolean index did not match"),
        (1.0, "valid indices"),
        ("a", "valid indices"),
        (np.array([1.0]), "integer"),
    ],
    ids=str,
)
def test_errors(key, message):
    x = tg.zeros((3, 2))
    with pytest.raises(IndexError, match=message):
        x[key]
    with pytest.raises(IndexError, match=message):
        x[key] = 1.0


def test_tensor_index_out_of_bounds():
    with pytest.raises(IndexError, match="index 4 is out of bounds"):
        tg.zeros(3)[tg.tensor([0, 4])]
    pending = tg.tensor([0, 2]) * 2  # not known yet: found when it runs
    with pytest.raises(IndexError):
        tg.zeros(3)[pending].numpy()


def test_value_that_does_not_fit():
    with pytest.raises(ValueError, match=r"from shape \(3,\) into shape \(2,\)"):
        tg.zeros(4)[:2] = tg.zeros(3)


def test_views_share_memory():
    x = tg.zeros((2, 3))
    row, flat = x[1], x.reshape(6)
    row[0] = 5.0
    flat[1] = 2.0
    x.T[2, 0] = 7.0
    x[:, 1:][1] = 4.0
    np.testing.assert_array_equal(x.numpy(), [[0, 2, 7], [5, 4, 4]])
    np.testing.assert_array_equal(row.numpy(), [5, 4, 4])
    np.testing.assert_array_equal(flat.numpy(), [0, 2, 7, 5, 4, 4])


def test_writing_through_an_expanded_view_is_refused():
    x = tg.broadcast_to(tg.zeros(3), (2, 3))
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        x[0] = 1.0


def test_second_order_through_a_write():
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * x
    y[1] = x[0] * x[2] * x[2]
    (g,) = tg.autograd.grad((y * y).sum(), x, create_graph=True)
    (h,) = tg.autograd.grad(g.sum(), x)
    # f = x0^4 + x0^2 x2^4 + x2^4
    np.testing.assert_allclose(h.numpy(), [12 + 2 * 81 + 8 * 27, 0, 8 * 27 + 12 * 9 + 12 * 9])
