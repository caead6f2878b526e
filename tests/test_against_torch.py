"""The same small programs, run by tapegrad and by PyTorch: values, gradients, errors, repr."""

import numpy as np
import pytest

import tapegrad as tg

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(-2, 2, (3, 4)), RNG.uniform(0.5, 2, (3, 4))
V, W = RNG.uniform(-1, 1, 4), RNG.uniform(-1, 1, (4, 2))
S = np.array(0.7)
PROGRAMS = {}


def program(*inputs):
    """Register ``function(xp, *tensors) -> scalar``; inputs are leaves that require grad."""

    def register(function):
        PROGRAMS[function.__name__] = (function, inputs)
        return function

    return register


@pytest.fixture(autouse=True)
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


# --- arithmetic and broadcasting ------------------------------------------------------------------


@program(X, Y)
def arithmetic(xp, x, y):
    return ((x + y) * (x - 2) / y - 3 * x + 1 / y + (-x)).sum()


@program(X, V, S)
def broadcasting(xp, x, v, s):
    return (x * v + s * v - x[:, :1] * s).sum()


@program(Y, Y)
def powers(xp, x, y):
    return (x**3 + x**0.5 + x**y + 2.0**y + x**-1).sum()


@program(X)
def constants_on_the_left(xp, x):
    return (2 - x + 3 * x + 1 / (x * x + 1)).sum()


@program(Y)
def transcendental(xp, x):
    return (xp.exp(-x) + xp.log(x) + xp.sin(x) * xp.cos(x) + xp.tanh(x) + xp.sqrt(x)).sum()


@program(X)
def inverse_functions(xp, x):
    z = xp.tanh(x) * 0.9
    return (xp.arcsin(z) + xp.arccos(z) + xp.arctan(x) + xp.arctanh(z) + xp.arcsinh(x)).sum()


@program(X)
def kinks(xp, x):
    return (xp.abs(x) + xp.maximum(x, x * 0) + xp.clip(x, -0.5, 0.5) + xp.relu(x)).sum()


@program(np.array([0.0, 1.0, -1.0, 0.0]), np.array([0.0, 1.0, 2.0, -1.0]))
def ties(xp, x, y):
    return (xp.maximum(x, y) * 3 + xp.minimum(x, y) * 5 + xp.abs(x) + xp.sign(x)).sum()


@program(X, Y)
def choice(xp, x, y):
    return (xp.where(x > 0, x * y, y) * 2).sum()


@program(X)
def safe_where_of_finite_branches(xp, x):
    return xp.where(x > 0, xp.exp(x), x * x).sum()


@program(X)
def rounding_has_no_slope(xp, x):
    return (xp.floor(x) * x + xp.ceil(x) + xp.round(x) * x).sum()


@program(X, Y)
def two_arguments(xp, x, y):
    return (xp.hypot(x, y) + xp.arctan2(x, y) + xp.logaddexp(x, y) + xp.remainder(x, y)).sum()


# --- reductions -----------------------------------------------------------------------------------


@program(X)
def sums_and_means(xp, x):
    return (x.sum(0) * x.mean(0)).sum() + (x - x.mean(1, keepdims=True)).sum(1).prod()


@program(X)
def variance(xp, x):
    return (x - x.mean()).square().mean() + x.sum(axis=-1).square().sum()


@program(X)
def products(xp, x):
    return xp.prod(x, 0).sum() + xp.cumsum(x, 1).square().sum() + xp.cumprod(x, 0).sum()


@program(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 0.0]]))
def ties_in_reductions(xp, x):
    return (xp.amax(x, 1) * 2 + xp.amin(x, 1) * 3).sum()


@program(X)
def soft(xp, x):
    return (xp.logsumexp(x, 1) + (xp.softmax(x, 1) * x).sum(1) + xp.log_softmax(x, 0)[0, :3]).sum()


@program(X)
def norms(xp, x):
    return (x * x).sum().sqrt() + (x * x).sum(1).sqrt().sum()


# --- shapes ---------------------------------------------------------------------------------------


@program(X)
def movement(xp, x):
    y = x.T.reshape(2, 6)
    z = xp.flip(xp.swapaxes(y, 0, 1), (0,))
    return (z * z.square()).sum() + xp.squeeze(x[None]).flatten()[3] ** 2


@program(X, Y)
def joining(xp, x, y):
    z = xp.concatenate([x, y * 2], 0)
    w = xp.stack([x, y], 1)
    return (z.square()).sum() + (w[:, 1] * w[:, 0]).sum()


@program(X)
def indexing(xp, x):
    return (x[0] * x[1, 2] + x[-1, 1:][0] + x[:, ::2].sum(1)[0] + x[..., None][2, 3, 0]).sum()


@program(X)
def fancy_indexing(xp, x):
    rows, columns = xp.tensor([0, 2, 2]), xp.tensor([1, 3, 3])
    return (x[rows, columns] * xp.tensor([1.0, 2.0, 3.0])).sum() + x[x > 0].square().sum()


@program(X)
def triangles(xp, x):
    return (xp.tril(x) * 2 - xp.triu(x, 1)).square().sum() + xp.diagonal(x[:, :3]).sum()


@program(V)
def expanded(xp, v):
    return (xp.broadcast_to(v, (3, 4)) * xp.tensor(X)).sum() + xp.tile(v, (2,))[5] ** 2


@program(V)
def sorted_values(xp, v):
    order = xp.argsort(v)
    return (v[order] * xp.tensor([1.0, 2.0, 3.0, 4.0])).sum()


# --- contractions ---------------------------------------------------------------------------------


@program(X, W)
def matrix_product(xp, x, w):
    return xp.tanh(x @ w).sum() + (x @ w[:, 0]).square().sum() + xp.matmul(x[0], w)[1]


@program(X, W)
def einsum(xp, x, w):
    return xp.einsum("ij,jk->ki", x, w).square().sum() + xp.einsum("ij,ij->", x, x)


@program(RNG.uniform(-1, 1, (2, 3, 4)), RNG.uniform(-1, 1, (4, 3)))
def batched_product(xp, a, b):
    return xp.sin(a @ b).sum() + xp.tensordot(a, b, 1).square().sum()


@program(V, V[::-1].copy())
def vector_products(xp, x, y):
    return xp.dot(x, y) * xp.outer(x, y).sum()


# --- control flow, in place, graphs ---------------------------------------------------------------


@program(S)
def value_dependent_loop(xp, s):
    y = s * 1.0
    while y < 10:
        y = y * 1.7 + s
    return y


@program(V)
def recurrence(xp, v):
    h = v * 0
    for k in range(10):
        h = xp.tanh(h * 0.5 + v * k)
    return h.sum()


@program(X, V)
def in_place(xp, x, v):
    y = x * 2
    y += v
    y[0] = v * v
    y[:, 1] *= 3
    return (y * xp.tensor(Y)).sum()


@program(X)
def writing_through_views(xp, x):
    y = x * 1.0
    row, column = y[1], y[:, 2]
    row.mul_(2)
    column.add_(row.sum())
    return (y.square() * xp.tensor(Y)).sum()


@program(V)
def filling_a_buffer(xp, v):
    out = xp.zeros(5)
    out[0] = v[0]
    for k in range(4):
        out[k + 1] = out[k].clone() * v[k] + 1
    return out.sum()


@program(X)
def detached_part(xp, x):
    return (x * x.detach() + xp.exp(x).detach()).sum()


@program(X)
def no_grad_island(xp, x):
    with xp.no_grad():
        scale = (x * x).sum()
    return (x / scale).sum()


@program(X, V)
def unused_and_reused(xp, x, v):
    y = xp.sin(x)
    y = y + y * y
    return (y + y).sum()


@program(V)
def gradient_of_gradient(xp, v):
    y = (xp.sin(v) * v).sum()
    (g,) = xp.autograd.grad(y, v, create_graph=True)
    return (g * g).sum() + y


@program(V)
def third_derivative(xp, v):
    y = (v**5).sum()
    for _ in range(2):
        (y,) = xp.autograd.grad(y.sum(), v, create_graph=True)
    return y.sum()


@program(X, W, V[:2])
def network(xp, x, w, b):
    hidden = xp.tanh(x @ w + b)
    logits = hidden - xp.logsumexp(hidden, 1, keepdims=True)
    return -(logits[:, 0]).mean() + 0.01 * (w**2).sum()


@program(V)
def hooked(xp, v):
    y = v * 2
    y.register_hook(lambda g: g * 3 + 1)
    return (y * y).sum()


@program(V)
def cloned(xp, v):
    y = v.clone()
    y.mul_(3)
    return (y * v).sum()


def run(xp, function, inputs):
    leaves = [xp.tensor(a, requires_grad=True) for a in inputs]
    out = function(xp, *leaves)
    out.backward()
    return out.item(), [None if x.grad is None else x.grad.detach().numpy() for x in leaves]


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_program(name):
    function, inputs = PROGRAMS[name]
    value, grads = run(tg, function, inputs)
    expected, expected_grads = run(torch, function, inputs)
    assert value == pytest.approx(expected, rel=1e-11)
    for g, e in zip(grads, expected_grads, strict=True):
        assert (g is None) == (e is None)
        if e is not None:
            np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-11)


# --- errors ---------------------------------------------------------------------------------------


def backward_of_vector(xp):
    (xp.tensor([1.0, 2.0], requires_grad=True) * 2).backward()


def backward_twice(xp):
    x = xp.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward()
    y.backward()


def backward_without_grad(xp):
    (xp.tensor([1.0]) * 2).sum().backward()


def leaf_in_place(xp):
    xp.tensor([1.0], requires_grad=True).add_(1)


def overwritten(xp):
    x = xp.tensor([1.0], requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    y += 1
    z.backward()


def overwritten_through_view(xp):
    x = xp.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    y[0] = 5
    z.backward()


def numpy_of_leaf(xp):
    xp.tensor([1.0], requires_grad=True).numpy()


def integer_leaf(xp):
    xp.tensor([1], requires_grad=True)


def unused_input(xp):
    x = xp.tensor([1.0], requires_grad=True)
    xp.autograd.grad((x * 2).sum(), xp.tensor([1.0], requires_grad=True))


def wrong_gradient_shape(xp):
    (xp.tensor([1.0, 2.0], requires_grad=True) * 2).backward(xp.tensor([1.0]))


def item_of_vector(xp):
    xp.tensor([1.0, 2.0]).item()


def truth_of_vector(xp):
    bool(xp.tensor([1.0, 2.0]))


ERRORS = [
    (backward_of_vector, "grad can be implicitly created only for scalar outputs"),
    (backward_twice, "retain_graph=True"),
    (backward_without_grad, "does not require grad and does not have a grad_fn"),
    (leaf_in_place, "a leaf Variable that requires grad is being used in an in-place operation"),
    (overwritten, "modified by an inplace operation"),
    (overwritten_through_view, "modified by an inplace operation"),
    (numpy_of_leaf, "detach"),
    (integer_leaf, "floating point"),
    (unused_input, "allow_unused=True"),
    (wrong_gradient_shape, "shape"),
    (item_of_vector, "a Tensor with 2 elements cannot be converted to Scalar"),
    (truth_of_vector, "Boolean value of Tensor with more than one value is ambiguous"),
]


@pytest.mark.parametrize(("function", "message"), ERRORS, ids=[f.__name__ for f, _ in ERRORS])
def test_error(function, message):
    for xp in (torch, tg):
        with pytest.raises(RuntimeError) as caught:
            function(xp)
        assert message in str(caught.value).replace("in-place operation.", "in-place operation")


# --- repr -----------------------------------------------------------------------------------------

ARRAYS = [
    np.array(1.5),
    np.array([1.0, 2.0]),
    np.array([1.5, -2.25, 3.0]),
    np.array([[1.0, 2.0], [3.0, 4.5]]),
    np.array([1, 2, 30]),
    np.array([True, False]),
    np.array([1e-8, 1.0, 1e8]),
    np.array([0.1234567, 12.5]),
    np.array([np.nan, np.inf, -1.0]),
    np.arange(24.0).reshape(2, 3, 4),
    np.zeros((0,)),
    np.arange(30.0),
    np.arange(2000.0),
    np.arange(20000.0).reshape(100, 200) / 7,
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_repr(array):
    assert repr(tg.tensor(array)) == repr(torch.tensor(array))
    if array.dtype.kind == "f":
        ours, theirs = tg.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
        assert repr(ours) == repr(theirs)
