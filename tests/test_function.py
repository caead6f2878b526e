"""``autograd.Function``."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd import Function
from tapegrad.testing import check_grads

X, Y = np.array([0.5, -1.0, 2.0]), np.array([1.5, 0.25, -0.5])


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        out = tg.exp(x)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, g):
        (out,) = ctx.saved_tensors
        return g * out


class ScaledProduct(Function):
    """Two results, an argument that is no tensor, saved inputs."""

    @staticmethod
    def forward(ctx, x, scale, y):
        ctx.scale = scale
        ctx.save_for_backward(x, y)
        return scale * x * y, x + y

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        return g * ctx.scale * y + h, None, g * ctx.scale * x + h


class NewStyle(Function):
    @staticmethod
    def forward(x, power):
        return x**power

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.power = inputs
        ctx.save_for_backward(x)
        ctx.shape = output.shape

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert g.shape == ctx.shape
        return g * ctx.power * x ** (ctx.power - 1), None


def leaf(values):
    return tg.tensor(values, requires_grad=True)


def test_first_derivative():
    x = leaf(X)
    y = Exp.apply(x)
    np.testing.assert_allclose(y.detach().numpy(), np.exp(X))
    assert repr(y.grad_fn) == "<ExpBackward>" and not y.is_leaf
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(X))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_higher_derivatives(dtype):
    order = 3 if dtype == "float64" else 2
    x, y = X.astype(dtype), Y.astype(dtype)
    check_grads(Exp.apply, [x], order=order)
    check_grads(lambda x: Exp.apply(tg.sin(x)) * x, [x], order=order)
    check_grads(lambda x, y: ScaledProduct.apply(x, 2.0, y), [x, y], order=order)
    check_grads(lambda x, y: ScaledProduct.apply(x * y, 2.0, y)[1], [x, y], order=2)
    check_grads(lambda x: NewStyle.apply(x, 3), [x], order=order)


def test_as_part_of_a_program():
    """Between other operations, used twice, one inside the other."""

    class Outer(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tg.sin(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * tg.log(Exp.apply(tg.cos(x)))  # a function in the derivative of another

    check_grads(lambda x: (Outer.apply(x * x) + Outer.apply(Exp.apply(x))).sum() * x[0], [X], order=2)


def test_without_gradients_nothing_is_recorded(tape):
    out = Exp.apply(tg.tensor(X))
    assert not out.requires_grad and not tape.functions
    with tg.no_grad():
        assert not Exp.apply(leaf(X)).requires_grad
    assert not tape.functions
    assert isinstance(ScaledProduct.apply(tg.tensor(X), 2.0, tg.tensor(Y)), tuple)


def test_needs_input_grad_and_none():
    seen = []

    class Half(Function):
        @staticmethod
        def forward(ctx, x, k, y):
            seen.append(ctx.needs_input_grad)
            return x * k + y

        @staticmethod
        def backward(ctx, g):
            return 2.0 * g, None, None

    x, y = leaf(X), tg.tensor(Y)
    Half.apply(x, 2, y).sum().backward()
    assert seen == [(True, False, False)]
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    z = leaf(Y)
    (gz,) = tg.autograd.grad(Half.apply(x, 2, z).sum(), z, allow_unused=True)
    assert gz is None


@pytest.mark.parametrize("materialize", [True, False])
def test_unused_results(materialize):
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(materialize)
            return x * 2.0, x * 3.0

        @staticmethod
        def backward(ctx, g, h):
            seen.append((g, h))
            return 2.0 * g if g is not None else 3.0 * h

    x = leaf(X)
    first, second = Two.apply(x)
    del second
    first.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    if materialize:
        assert seen[0][1].tolist() == [0.0, 0.0, 0.0]
    else:
        assert seen[0][1] is None
        first, second = Two.apply(x)
        del first
        (g,) = tg.autograd.grad(second.sum(), x)
        assert g.tolist() == [3.0, 3.0, 3.0], "the younger of two results"


def test_non_differentiable_results():
    class Order(Function):
        @staticmethod
        def forward(ctx, x):
            values, order = tg.sort(x), tg.argsort(x)
            rank = order.astype("float64")
            ctx.mark_non_differentiable(rank)
            ctx.save_for_backward(order)
            return values, order, rank, None

        @staticmethod
        def backward(ctx, g, *others):
            (order,) = ctx.saved_tensors
            return tg.take(g, tg.argsort(order))

    x = leaf(X)
    values, order, rank, nothing = Order.apply(x)
    assert values.requires_grad and not order.requires_grad and not rank.requires_grad and nothing is None
    (values * np.array([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [2.0, 1.0, 3.0]


def test_an_input_returned_as_it_is():
    class Reverse(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g

    x = leaf(X)
    out = Reverse.apply(x)
    assert out is not x
    (out * 2.0 + x).sum().backward()
    assert x.grad.tolist() == [-1.0, -1.0, -1.0]


def test_gradients_are_unbroadcast_and_cast():
    class Add(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g, g

    x, y = leaf(np.ones((2, 3), np.float32)), leaf(np.ones(3))
    Add.apply(x, y).sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [[1.0] * 3] * 2
    assert y.grad.tolist() == [2.0, 2.0, 2.0]


def test_numpy_inside():
    """A derivative computed by NumPy: first order only."""

    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            v = x.detach().numpy()
            ctx.v = v
            return tg.tensor(v**3)

        @staticmethod
        def backward(ctx, g):
            return tg.tensor(3.0 * ctx.v**2 * g.detach().numpy())

    check_grads(Cube.apply, [X], order=1)


def test_hooks_and_retained_gradients():
    x = leaf(X)
    y = Exp.apply(x * 2.0)
    y.retain_grad()
    y.register_hook(lambda g: g * 10.0)
    (y * 3.0).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 60.0 * np.exp(2 * X))
    np.testing.assert_allclose(y.grad.numpy(), 30.0)


def test_forward_mode():
    t = np.array([1.0, -2.0, 0.5])
    _, tangent = tg.jvp(Exp.apply, (X,), (t,))
    np.testing.assert_allclose(tangent, np.exp(X) * t)
    np.testing.assert_allclose(
        tg.hvp(lambda x: Exp.apply(x * x).sum(), X, t), np.exp(X * X) * (4 * X * X + 2) * t
    )

    class WithJvp(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tg.sin(x)

        @staticmethod
        def backward(ctx, g):
            raise AssertionError("not asked for")

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return t * tg.cos(x)

    np.testing.assert_allclose(tg.jvp(WithJvp.apply, (X,), (t,))[1], np.cos(X) * t)


def test_forward_mode_needs_something_to_transpose():
    class Opaque(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return tg.tensor(g.detach().numpy() * 2.0)

    with pytest.raises(NotImplementedError, match=r"Opaque: forward mode needs a static method jvp"):
        tg.jvp(Opaque.apply, (X,), (X,))


def test_forward_mode_in_batches():
    """Transposing a derivative makes no leaf that somebody could differentiate by."""
    x = np.stack([X, X / 2])
    np.testing.assert_allclose(tg.vmap(tg.jacfwd(Exp.apply))(x), [np.diag(row) for row in np.exp(x)])
    second = tg.vmap(tg.hessian(lambda x: Exp.apply(2.0 * x).sum()))(x)
    np.testing.assert_allclose(second, [np.diag(row) for row in 4 * np.exp(2 * x)])


def test_transforms():
    np.testing.assert_allclose(tg.grad(lambda x: Exp.apply(x).sum())(X), np.exp(X))
    value, g = tg.value_and_grad(lambda x, y: ScaledProduct.apply(x, 2.0, y)[0].sum(), argnums=(0, 1))(X, Y)
    assert value == pytest.approx((2 * X * Y).sum())
    np.testing.assert_allclose(g[1], 2 * X)
    np.testing.assert_allclose(
        tg.grad(lambda x: (tg.grad(lambda z: Exp.apply(z).sum())(x) ** 2).sum())(X), 2 * np.exp(2 * X)
    )


def test_results_require_no_grad_for_functions_with_their_own_derivative():
    t = tg.tensor(X)
    for f in (Exp.apply, tg.checkpoint(tg.exp), tg.compile(tg.exp)):

        def loss(x, f=f):
            return f(x).sum()

        for out in (
            tg.grad(loss)(t), tg.hessian(loss)(t), tg.jacfwd(f)(t), tg.jacrev(f)(t), *tg.jvp(f, (t,), (t,)),
            *tg.value_and_grad(loss)(t),
        ):  # fmt: skip
            assert not out.requires_grad
    w = tg.tensor(X, requires_grad=True)
    gradient = tg.grad(lambda x: (Exp.apply(x) * Exp.apply(w)).sum())(t)
    gradient.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), np.exp(2 * X))


class Solved(Function):
    """A derivative that calls a transform, as implicit differentiation does."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return tg.exp(x) * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return tg.vjp(lambda x: tg.exp(x) * x, x)[1](g)[0]


@pytest.mark.parametrize(
    "transform",
    [
        tg.grad, tg.hessian, tg.jacfwd, lambda f: tg.jacrev(tg.jacrev(f)), lambda f: tg.jacfwd(tg.jacfwd(f)),
        lambda f: tg.jacrev(tg.jacfwd(f)), lambda f: tg.compile(tg.hessian(f)),
    ],
)  # fmt: skip
def test_transforms_in_a_derivative(transform):
    found = transform(lambda x: (Solved.apply(x) ** 2).sum())(X)
    np.testing.assert_allclose(found, transform(lambda x: ((tg.exp(x) * x) ** 2).sum())(X), rtol=1e-11)


def test_compiled():
    def f(x, y):
        a, b = ScaledProduct.apply(Exp.apply(x), 2.0, y)
        return (a * b).sum()

    def plain(x, y):
        return (2.0 * tg.exp(x) * y * (tg.exp(x) + y)).sum()

    compiled = tg.compile(tg.value_and_grad(f, argnums=(0, 1)))
    for x, y in ((X, Y), (Y, X), (2.0 * X, Y)):
        value, gradients = compiled(x, y)
        expected = tg.value_and_grad(plain, argnums=(0, 1))(x, y)
        np.testing.assert_allclose(value, expected[0], rtol=1e-12)
        np.testing.assert_allclose(gradients, expected[1], rtol=1e-12)
    assert compiled.stats().recordings == 1 and compiled.stats().replays == 2


def test_hooks_on_one_of_several_results():
    x, y = leaf(X), leaf(Y)
    a, b = ScaledProduct.apply(x, 2.0, y)
    a.register_hook(lambda g: g * 10.0)
    b.register_hook(lambda g: g * 100.0)
    (g,) = tg.autograd.grad(b.sum(), x, retain_graph=True)
    assert g.tolist() == [100.0] * 3
    (g,) = tg.autograd.grad(a.sum(), x, retain_graph=True)
    np.testing.assert_allclose(g.numpy(), 20.0 * Y)
    (g,) = tg.autograd.grad((a + b).sum(), x)
    np.testing.assert_allclose(g.numpy(), 20.0 * Y + 100.0)


# --- saved values ---------------------------------------------------------------------------------


def test_second_backward():
    x = leaf(X)
    y = Exp.apply(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(X))
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_what_was_saved_is_let_go(tape):
    class Keep(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.big = Big()
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return 2.0 * g

    class Big:
        alive = 0

        def __init__(self):
            Big.alive += 1

        def __del__(self):
            Big.alive -= 1

    x = leaf(X)
    y = Keep.apply(x)
    assert Big.alive == 1
    y.sum().backward()
    assert Big.alive == 0, "although y is still there"


def test_saved_tensor_changed_in_place():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2.0 * g * x

    x = leaf(X)
    z = x * 1.0
    y = Square.apply(z)
    z += 1.0
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*saved by Square"):
        y.sum().backward()
    z = x * 1.0
    y = Square.apply(z)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * X)


def test_inputs_need_not_be_held():
    """Slots are renumbered between forward and backward; nobody holds the input."""
    x = leaf(X)
    y = Exp.apply(tg.sin(x * 1.0))
    z = ScaledProduct.apply(tg.cos(x), 3.0, y)
    for _ in range(2000):
        (tg.tensor(X) * 2.0).numpy()
    (z[0] + z[1]).sum().backward()
    c, e = np.cos(X), np.exp(np.sin(X))
    np.testing.assert_allclose(x.grad.numpy(), (3 * e + 1) * -np.sin(X) + (3 * c + 1) * e * c)


def test_memory(tape):
    def steps(n):
        for _ in range(n):
            y = Exp.apply(tg.sin(leaf(X)))
            y.sum().backward()

    steps(500)
    gc.collect()
    before = len(gc.get_objects())
    gc.disable()
    try:
        steps(2000)
        assert len(gc.get_objects()) - before < 3000, "no cycles, no growth"
    finally:
        gc.enable()
    assert len(tape) < 2000 and len(tape.functions) < 500


def test_long_chains_are_let_go_at_once(tape):
    """What is dropped without a backward pass does not survive link by link."""
    for _ in range(60):
        y = leaf(X)
        for _ in range(50):
            y = Exp.apply(y * 0.01)
        y.detach().numpy()
    del y
    for _ in range(600):
        tg.tensor(X).exp().numpy()
    assert len(tape.functions) == 0


def test_threads():
    def work(k):
        x = leaf(X + k)
        Exp.apply(x).sum().backward()
        return np.abs(x.grad.numpy() / np.exp(X + k) - 1.0).max()

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(40))) < 1e-14


# --- errors ---------------------------------------------------------------------------------------


def broken(returned, forward=lambda ctx, x, k: x * 2.0):
    return type("Broken", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(returned)})


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda ctx, g: g,
            r"function BrokenBackward returned an incorrect number of gradients \(expected 2, got 1\)",
        ),
        (lambda ctx, g: (g, g), "returned a gradient different from None at position 2"),
        (lambda ctx, g: (g, None, g), r"incorrect number of gradients \(expected 2, got 3\)"),
        (
            lambda ctx, g: (g[:2], None),
            r"invalid gradient at index 0 - got \[2\] but expected shape compatible with \[3\]",
        ),
    ],
)
def test_wrong_gradients(returned, message):
    with pytest.raises(RuntimeError, match=message):
        broken(returned).apply(leaf(X), 1.0).sum().backward()
    more = broken(lambda ctx, g: (2.0 * g, None, None, None))
    check_grads(lambda x: more.apply(x, 1.0), [X])


def test_errors_of_form():
    with pytest.raises(RuntimeError, match="should not be instantiated"):
        Exp()
    with pytest.raises(TypeError, match=r"Broken\.forward: result 0 is a NumPy array"):
        broken(None, lambda ctx, x: np.ones(3)).apply(leaf(X))
    with pytest.raises(TypeError, match="save_for_backward can only save tensors"):
        broken(None, lambda ctx, x: ctx.save_for_backward(1.0)).apply(leaf(X))
    with pytest.raises(RuntimeError, match="mark_dirty"):
        broken(None, lambda ctx, x: ctx.mark_dirty(x)).apply(leaf(X))
    with pytest.raises(NotImplementedError, match="implement the static method forward"):
        type("Empty", (Function,), {}).apply(leaf(X))


def test_errors_in_backward_leave_the_tape_usable(tape):
    class Fails(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    x = leaf(X)
    y = Fails.apply(x)
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward()
    assert tape.locked == 0
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


# --- beside PyTorch -------------------------------------------------------------------------------


def test_like_torch():
    """The same class body, over each library."""
    torch = pytest.importorskip("torch")

    def build(base, lib):
        class Both(base):
            @staticmethod
            def forward(ctx, x, k, y):
                out = lib.tanh(x) * y
                ctx.k = k
                ctx.save_for_backward(x, y, out)
                return out, lib.sin(x * k)

            @staticmethod
            def backward(ctx, g, h):
                x, y, out = ctx.saved_tensors
                t = lib.tanh(x)
                gx = g * y * (1 - t * t) + ctx.k * h * lib.cos(x * ctx.k)
                return gx, None, g * out / y

        return Both

    found = []
    for base, lib in ((Function, tg), (torch.autograd.Function, torch)):
        both = build(base, lib)
        x, y = lib.tensor(X, requires_grad=True), lib.tensor(Y, requires_grad=True)
        a, b = both.apply(x, 2.0, y)
        loss = (a * b).sum() + (a**2).sum()
        gx, gy = lib.autograd.grad(loss, [x, y], create_graph=True)
        second = lib.autograd.grad((gx * gy).sum(), [x, y])
        found.append([np.asarray(v.detach().numpy()) for v in (loss, gx, gy, *second)])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
