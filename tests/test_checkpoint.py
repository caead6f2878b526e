"""``checkpoint`` around what has history of its own: nested, over captured results, over other functions."""

import numpy as np
import pytest

import tapegrad as tg

X = np.array([0.5, 1.0, 1.5])


def plain(f):
    return f


class Product(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * y, g * x


def nested(x, w, wrap):
    return wrap(lambda x: wrap(lambda y: tg.sin(y * w))(x * w))(x)


def captured_result(x, w, wrap):
    z = tg.exp(w)
    return wrap(lambda x: wrap(lambda y: y * z)(x * z) * w)(x)


def captured_and_argument(x, w, wrap):
    z = tg.exp(w) * x
    return wrap(lambda y: y * w + tg.sin(y * z))(z)


def captured_by_function(x, w, wrap):
    w = tg.as_tensor(w)
    return wrap(lambda x: Product.apply(Product.apply(w, w), Product.apply(w, x)))(tg.as_tensor(x))


def captured_by_transforms(x, w, wrap):
    inner = wrap(lambda x: tg.grad(lambda y: (y**3 * w).sum())(x))
    return inner(x) + wrap(lambda x: tg.vmap(lambda y: y * w[0])(x))(x)


def captured_by_compiled(x, w, wrap):
    product = tg.compile(lambda x, w: tg.sin(x) * w)
    return wrap(lambda x: product(x, w))(x)


PROGRAMS = [
    nested, captured_result, captured_and_argument, captured_by_function, captured_by_transforms,
    captured_by_compiled,
]  # fmt: skip


def derivatives(program, wrap):
    """All that can be asked for, define-by-run and by transforms."""
    found = []
    x, w = tg.tensor(X, requires_grad=True), tg.tensor(X + 1, requires_grad=True)
    program(x, w, wrap).sum().backward()
    found += [x.grad.numpy(), w.grad.numpy()]
    x, w = tg.tensor(X, requires_grad=True), tg.tensor(X + 1, requires_grad=True)
    first = tg.autograd.grad(program(x, w, wrap).sum(), [x, w], create_graph=True)
    found += [g.detach().numpy() for g in first]
    (first[0] * first[1]).sum().backward()
    found += [x.grad.numpy(), w.grad.numpy()]

    def loss(x, w):
        return program(x, w, wrap).sum()

    found += tg.grad(loss, (0, 1))(X, X + 1)
    found += tg.compile(tg.grad(loss, (0, 1)))(X, X + 1)
    found += [block for row in tg.hessian(loss, (0, 1))(X, X + 1) for block in row]
    found.append(tg.jacfwd(loss, 1)(X, X + 1))
    found.append(tg.vmap(tg.grad(loss, 1), (None, 0))(X, (X + 1)[None])[0])
    return found


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_derivatives_are_those_without_it(program):
    expected = derivatives(program, plain)
    found = derivatives(program, tg.checkpoint)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_long_functions_that_look_at_values():
    def f(x):
        total = 0.0
        for _ in range(1500):
            x = x * 1.0001
            if float(x.sum()) > 0:
                total = total + x
        return total

    def loss(wrap):
        return tg.grad(lambda x: wrap(f)(x).sum())(X)

    np.testing.assert_allclose(loss(tg.checkpoint), loss(plain), rtol=1e-12)


def test_in_place_operations_inside():
    def f(x):
        x = x * 1.0
        x[0] = x[1] * 2.0
        x += x
        return tg.sin(x)

    def loss(wrap):
        return tg.hessian(lambda x: wrap(f)(x).sum())(X)

    np.testing.assert_allclose(loss(tg.checkpoint), loss(plain), rtol=1e-12)


def double(x):
    x *= 2.0


def assign(x):
    x[0] = 1.0


def through_a_view(x):
    view = x[1:]
    view += 1.0


def data(x):
    x.data.mul_(2.0)


@pytest.mark.parametrize("change", [double, assign, through_a_view, data, lambda x: x.zero_()])
def test_an_argument_changed_in_place_is_refused(change):
    def f(x):
        change(x)
        return x * x

    with pytest.raises(RuntimeError, match=r"checkpoint: .*f \(.*changed an argument in place"):
        tg.grad(lambda x: (tg.checkpoint(f)(x) + x).sum())(X)
    np.testing.assert_allclose(tg.grad(lambda x: (x * x).sum())(X), 2 * X)
