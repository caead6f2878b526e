"""Operations that users make with ``custom_op``."""

import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import tapegrad as tg
from tapegrad.custom.elementwise import find_row
from tapegrad.ops.table import ROWS
from tapegrad.testing import check_grads

names = (f"op{k}" for k in itertools.count())
X = np.array([-1.5, -0.25, 0.5, 2.0])


# --- elementwise ----------------------------------------------------------------------------------


@numba.njit
def wave(x, y):
    return math.sin(x) * y


@numba.njit
def wave_rules(g, out, x, y):
    return g * math.cos(x) * y, g * math.sin(x)


@numba.njit
def wave_x(g, out, x, y):
    return g * math.cos(x) * y


@numba.njit
def wave_y(g, out, x, y):
    return g * math.sin(x)


FORMS = {
    "jitted, a tuple": (wave, wave_rules),
    "jitted, one by one": (wave, [wave_x, wave_y]),
    "expressions": (wave, [lambda g, out, x, y: g * tg.cos(x) * y, lambda g, out, x, y: g * tg.sin(x)]),
    "an expression of a tuple": (wave, lambda g, out, x, y: (g * np.cos(x) * y, g * np.sin(x))),
    "all plain": (lambda x, y: math.sin(x) * y, lambda g, out, x, y: (g * math.cos(x) * y, g * math.sin(x))),
    "mixed": (wave, [wave_x, lambda g, out, x, y: g * tg.sin(x)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_all_derivatives(form):
    op = tg.custom_op(*FORMS[form], name=next(names))
    x, y = X[:, None], np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(op(x, y).numpy(), np.sin(x) * y, rtol=1e-14)
    check_grads(op, [x, y], order=3 if form == "jitted, a tuple" else 2)
    if form in ("jitted, a tuple", "expressions"):
        check_grads(op, [x.astype("float32"), y.astype("float32")], order=2)


def test_one_operand_and_the_result():
    """A rule may read the result instead of the operand."""
    op = tg.custom_op(lambda x: math.exp(x), lambda g, out, x: g * out, name=next(names))
    check_grads(op, [X], order=3)


def test_three_operands():
    op = tg.custom_op(
        lambda x, y, z: x * y + z * z,
        [lambda g, out, x, y, z: g * y, lambda g, out, x, y, z: g * x, lambda g, out, x, y, z: 2.0 * g * z],
        name=next(names),
    )
    check_grads(op, [X, X[:, None] + 0.1, np.float64(0.3)], order=2)


def test_results_are_tensors_whatever_the_operands():
    op = tg.custom_op(wave, wave_rules)
    for x, y in ((0.5, 2.0), (np.float32(0.5), 2), ([0.5], [2]), (tg.tensor(0.5), 2), (1, 2)):
        out = op(x, y)
        assert isinstance(out, tg.Tensor) and not out.requires_grad
        np.testing.assert_allclose(out.numpy(), np.sin(np.asarray(x)) * np.asarray(y), rtol=1e-6)
    assert op(np.float32(0.5), np.ones(2, np.float32)).dtype == np.float32
    assert op(1, 2).dtype == np.float64, "integers become float64"


def test_same_dtype_and_truths():
    twice = tg.custom_op(lambda x: x + x, name=next(names), dtype="same")
    assert twice(np.array([1, 2])).dtype == np.int64
    assert twice(np.array([1, 2])).tolist() == [2, 4]
    inside = tg.custom_op(lambda x: -1.0 < x < 1.0, name=next(names))
    assert inside(X).dtype == bool
    assert inside(X).tolist() == [False, True, True, False]


def test_in_a_region_with_other_operations():
    """The operation runs inside a tile loop, over several tiles."""
    op = tg.custom_op(wave, wave_rules)
    x = tg.tensor(np.linspace(-2.0, 2.0, 5000), requires_grad=True)
    (tg.exp(op(x * 2.0, x)) + x).sum().backward()
    v = np.linspace(-2.0, 2.0, 5000)
    s = np.sin(2 * v)
    expected = np.exp(s * v) * (2 * np.cos(2 * v) * v + s) + 1.0
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)


def test_decorator_keeps_name_and_doc():
    @tg.custom_op(derivative=lambda g, out, x: 2.0 * g * x)
    def squared(x):
        """The square."""
        return x * x

    assert squared.__name__ == "squared" and squared.__doc__ == "The square."
    assert "squared" in repr(squared) and squared.arity == 1
    check_grads(squared, [X])


def test_plain_decorator_over_njit():
    @tg.custom_op
    @numba.njit
    def cube(x):
        return x * x * x

    assert cube(2.0).item() == 8.0


def test_no_gradient_flows_through_an_operand_without_rule():
    op = tg.custom_op(wave, [lambda g, out, x, y: g * tg.cos(x) * y, None], name=next(names))
    x, y = tg.tensor(X, requires_grad=True), tg.tensor(X + 1.0, requires_grad=True)
    op(x, y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.cos(X) * (X + 1.0))
    assert y.grad is None or not y.grad.numpy().any()
    joint = tg.custom_op(wave, lambda g, out, x, y: (g * tg.cos(x) * y, None), name=next(names))
    gx, gy = tg.autograd.grad(joint(x, y).sum(), [x, y], allow_unused=True)
    np.testing.assert_allclose(gx.numpy(), np.cos(X) * (X + 1.0))
    assert gy is None or not gy.numpy().any()


def test_zero_cotangents_contribute_zero():
    """Also where the derivative is infinite, as for all operations."""
    root = tg.custom_op(lambda x: math.sqrt(x), lambda g, out, x: 0.5 * g / out, name=next(names))
    x = tg.tensor([0.0, 4.0], requires_grad=True)
    (gx,) = tg.autograd.grad(root(x), x, np.array([0.0, 1.0]), create_graph=True)
    assert gx.tolist() == [0.0, 0.25]
    root(x).backward(np.array([0.0, 1.0]))
    assert x.grad.tolist() == [0.0, 0.25]


def test_a_rule_in_other_custom_operations():
    inner = tg.custom_op(lambda x: math.cos(x), lambda g, out, x: -g * tg.sin(x), name=next(names))
    outer = tg.custom_op(lambda x: math.sin(x), lambda g, out, x: g * inner(x), name=next(names))
    check_grads(outer, [X], order=3)


def test_rules_with_conditions_and_helpers():
    def helper(x):
        return tg.where(x > 0.0, 1.0, 0.1)

    op = tg.custom_op(lambda x: x if x > 0 else 0.1 * x, lambda g, out, x: g * helper(x), name=next(names))
    check_grads(op, [X], order=2)
    truth = tg.custom_op(lambda x: max(x, 0.0), lambda g, out, x: g * (x > 0), name=next(names))
    check_grads(truth, [X], order=1)


def test_derivative_that_branches_has_no_further_derivative():
    @numba.njit
    def rule(g, out, x):
        if x > 0:
            return 2.0 * g * x
        return 0.0

    for derivative in (rule, rule.py_func):
        op = tg.custom_op(lambda x: max(x, 0.0) ** 2, derivative, name=next(names))
        check_grads(op, [X], order=1)
        x = tg.tensor(X, requires_grad=True)
        (gx,) = tg.autograd.grad(op(x).sum(), x, create_graph=True)
        np.testing.assert_allclose(gx.detach().numpy(), 2 * np.maximum(X, 0))
        with pytest.raises(RuntimeError, match=r"cannot be differentiated again.*looks at a value"):
            gx.sum().backward()


def test_numbers_from_math_are_not_frozen():
    """``math.cos`` of a tensor records; it must not become the number it had while tracing."""
    op = tg.custom_op(wave, wave_rules)
    for value in (0.3, 1.7):
        x = tg.tensor(value, requires_grad=True)
        (first,) = tg.autograd.grad(op(x, 2.0), x, create_graph=True)
        (second,) = tg.autograd.grad(first, x)
        assert second.item() == pytest.approx(-2.0 * math.sin(value))


def test_without_derivative_backward_is_an_error():
    op = tg.custom_op(wave, name=next(names))
    x = tg.tensor(X, requires_grad=True)
    for create_graph in (False, True):
        with pytest.raises(RuntimeError, match=r"custom:op\d+: no derivative was given"):
            op(x, 1.0).sum().backward(create_graph=create_graph)
    assert x.grad is None
    op(x.detach(), 1.0).sum().numpy()


def test_exceptions_in_compiled_code():
    @tg.custom_op(name=next(names), derivative=lambda g, out, x: g)
    def checked(x):
        if x < 0:
            raise ValueError("negative input")
        return x

    kept = tg.tensor([1.0]) + 1.0
    line = test_exceptions_in_compiled_code.__code__.co_firstlineno + 12
    with pytest.raises(
        RuntimeError, match=rf"ValueError: negative input \(recorded at test_custom.py:{line}\)"
    ):
        (checked(np.array([1.0, -1.0])) * 2.0).numpy()
    assert kept.tolist() == [2.0], "the tape goes on"
    assert checked([3.0]).tolist() == [3.0]
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        tg.custom_op(numba.njit(lambda x: 1.0 / x), name=next(names))(0.0).item()


def test_exceptions_in_a_derivative():
    @numba.njit
    def rule(g, out, x):
        if x < 0:
            raise ValueError("no")
        return g

    op = tg.custom_op(lambda x: x, rule, name=next(names))
    x = tg.tensor([-1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="raised an exception in compiled code"):
        op(x).sum().backward()
    y = tg.tensor([1.0], requires_grad=True)
    op(y).sum().backward()
    assert y.grad.tolist() == [1.0]


def test_threads():
    op = tg.custom_op(wave, wave_rules)

    def work(k):
        x = tg.tensor(X + k, requires_grad=True)
        op(x, 2.0).sum().backward()
        return np.abs(x.grad.numpy() - 2.0 * np.cos(X + k)).max()

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(40))) < 1e-14


def test_new_operations_while_other_threads_run():
    """Registering a row must not move what running threads hold addresses of."""
    stop, errors = threading.Event(), []

    def run():
        x = tg.tensor(X, requires_grad=True)
        try:
            while not stop.is_set():
                (g,) = tg.autograd.grad(tg.sin(x).sum(), x)
                np.testing.assert_allclose(g.numpy(), np.cos(X), rtol=1e-14)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for t in threads:
        t.start()
    for k in range(5):
        assert _scaled(float(k))(1.0).item() == float(k)
    stop.set()
    for t in threads:
        t.join()
    assert not errors


def _scaled(k):
    return tg.custom_op(lambda x: k * x, lambda g, out, x: k * g, name=next(names))


# --- names ----------------------------------------------------------------------------------------


def test_same_code_is_the_same_operation():
    def make(scale):
        def scaled(x):
            return scale * x

        return tg.custom_op(scaled, lambda g, out, x: g * scale)

    first = make(2.0)
    assert make(2.0) is first
    other = make(3.0)
    assert other is not first
    assert first(1.0).item() == 2.0 and other(1.0).item() == 3.0, "each keeps its own code"
    assert find_row(first.name) is other.row, "the name stands for the last"


def test_given_names_are_not_taken_over_silently():
    name = next(names)
    first = tg.custom_op(lambda x: x, name=name)
    with pytest.raises(ValueError, match=f"'{name}' is already the name"):
        tg.custom_op(lambda x: x + 1.0, name=name)
    second = tg.custom_op(lambda x: x + 1.0, name=name, replace=True)
    assert first(1.0).item() == 1.0 and second(1.0).item() == 2.0
    assert first.digest != second.digest


def test_rows_are_found_by_name():
    op = tg.custom_op(wave, wave_rules)
    assert find_row(f"custom:{__name__}.wave") is op.row is ROWS[op.name]
    with pytest.raises(LookupError, match="define it before"):
        find_row("custom:nowhere.f")
    array = tg.custom_op(total, total_rule, elementwise=False, shape=lambda s: (), name=next(names))
    row = find_row(f"{array.name}[2->0]")
    array(np.ones((2, 2)))
    assert find_row(f"{array.name}[2->0]") is row
    assert find_row(f"{array.name}'0[2->0]").user.pick == -1


def test_printing(tape):
    op = tg.custom_op(lambda x: x, lambda g, out, x: g, name="shown")
    y = op(tg.tensor([1.0], requires_grad=True))
    assert "custom:shown %0" in str(tape)
    assert repr(y) == "tensor([1.], grad_fn=<ShownBackward>)"


# --- bad input ------------------------------------------------------------------------------------


def f1(x):
    return x


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3.0,), {}, TypeError, "forward must be a function"),
        ((np.sin,), {}, TypeError, "forward must be a Python or jitted function"),
        ((lambda: 1.0,), {}, TypeError, "one to three operands"),
        ((lambda a, b, c, d: a,), {}, TypeError, "one to three operands"),
        ((lambda x, eps=1.0: x,), {}, TypeError, "without defaults"),
        ((lambda x: object(),), {}, TypeError, "does not compile for"),
        ((lambda x: (x, x),), {}, TypeError, "must return a real number"),
        ((lambda x: x * 1j,), {}, TypeError, "must return a real number"),
        ((f1, 3.0), {}, TypeError, "object is not iterable"),
        ((f1, [f1]), {}, TypeError, r"a derivative takes \(g, out, x\)"),
        ((f1, [None, None]), {}, ValueError, "has 1 operands but 2 derivatives"),
        ((f1, ["g"]), {}, TypeError, "must be callable, not str"),
        ((wave, lambda g, out, x, y: g), {}, TypeError, "returns 1 cotangents for 2 operands"),
        ((wave, numba.njit(lambda g, out, x, y: g)), {}, TypeError, "must return a tuple of 2"),
        ((f1, numba.njit(lambda g, out, x: "a")), {}, TypeError, "must return a real number"),
        ((f1, lambda g, out, x: tg.sum(g, axis=3)), {}, TypeError, "is no expression"),
        ((f1, lambda g, out, x: g.reshape((1,))), {}, TypeError, "is no expression"),
        ((f1,), {"dtype": "int64"}, ValueError, "'float' or 'same'"),
        ((f1,), {"shape": f1}, ValueError, "elementwise=False"),
        ((f1,), {"name": "a[b]"}, ValueError, "brackets"),
        ((lambda x: x > 0, lambda g, out, x: g), {}, TypeError, "returns truths has no derivative"),
        ((f1,), {"elementwise": False, "shape": (3,)}, TypeError, "shape must be a function"),
        ((f1,), {"elementwise": False, "dtype": "complex128"}, TypeError, "complex128 is not supported"),
    ],
)
def test_bad_definitions(arguments, options, error, message):
    with pytest.raises(error, match=message):
        tg.custom_op(*arguments, **{"name": next(names), **options})


def test_bad_calls():
    op = tg.custom_op(wave, wave_rules)
    with pytest.raises(TypeError, match="takes 2 operands, but 1 were given"):
        op(1.0)
    with pytest.raises(ValueError, match=r"could not be broadcast together with shapes \(2,\) \(3,\)"):
        op(np.ones(2), np.ones(3))
    with pytest.raises(TypeError, match="cannot use 'str'"):
        op("a", 1.0)


# --- operations of arrays -------------------------------------------------------------------------


@numba.njit
def running(x):
    out = np.empty_like(x)
    total = 0.0
    for i in range(x.size):
        total += x[i]
        out[i] = total
    return out


@numba.njit
def running_rule(g, out, x):
    result = np.empty_like(g)
    total = 0.0
    for i in range(g.size - 1, -1, -1):
        total += g[i]
        result[i] = total
    return result


def running_expression(g, out, x):
    return tg.flip(tg.cumsum(tg.flip(g)))


@numba.njit
def total(x):
    return x.sum()


@numba.njit
def total_rule(g, out, x):
    return np.full(x.shape, g[()])


@numba.njit
def affine(a, x, b):
    return np.dot(a, x) + b


@numba.njit
def affine_rules(g, out, a, x, b):
    return np.outer(g, x), np.dot(a.T, g), g


def test_arrays_with_an_expression():
    op = tg.custom_op(running, running_expression, elementwise=False)
    np.testing.assert_allclose(op(X).numpy(), np.cumsum(X))
    check_grads(op, [X], order=3)
    check_grads(op, [X.astype("float32")], order=2)


def test_arrays_with_a_jitted_derivative():
    op = tg.custom_op(running, running_rule, elementwise=False, name=next(names))
    check_grads(op, [X], order=2)  # its loop is recorded for the second derivative
    check_grads(op, [X.astype("float32")], order=1)


def test_jitted_derivative_that_branches():
    @numba.njit
    def rule(g, out, x):
        return g if x[0] > 0 else -g

    op = tg.custom_op(lambda x: np.abs(x), rule, elementwise=False, name=next(names))
    check_grads(op, [X[2:]], order=1)
    x = tg.tensor(X, requires_grad=True)
    (gx,) = tg.autograd.grad((op(x) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        gx.sum().backward()


def test_jitted_derivative_that_records_is_differentiated_again():
    op = tg.custom_op(affine, affine_rules, elementwise=False, shape=lambda a, x, b: b, name=next(names))
    a, x, b = np.arange(6.0).reshape(2, 3) / 4, np.array([0.5, -1.0, 2.0]), np.array([1.0, 3.0])
    check_grads(op, [a, x, b], order=3)


def test_derivative_that_reads_everything():
    """More than an instruction has operands for: they are packed."""

    @numba.njit
    def rules(g, out, x, y, z):
        return g * out / x, g * out / y, g * x * y * np.cos(z)

    op = tg.custom_op(
        numba.njit(lambda x, y, z: x * y * np.sin(z)), rules, elementwise=False, name=next(names)
    )
    x = np.array([[0.5, -1.0, 2.0], [1.0, 1.5, -0.5]])
    check_grads(op, [x, x + 3.0, x * 0.5], order=2)


def test_results_of_other_shapes():
    op = tg.custom_op(total, total_rule, elementwise=False, shape=lambda s: (), name=next(names))
    for shape in ((3,), (2, 3), ()):
        check_grads(op, [np.arange(1.0, 1.0 + math.prod(shape)).reshape(shape)], order=1)
    assert op(np.ones((0,))).item() == 0.0
    outer = tg.custom_op(
        lambda x, y: np.outer(x, y),
        [lambda g, out, x, y: g @ y, lambda g, out, x, y: x @ g],
        elementwise=False,
        shape=lambda x, y: (*x, *y),
        name=next(names),
    )
    check_grads(outer, [X, X[:3]], order=2)


def test_integer_result():
    op = tg.custom_op(numba.njit(lambda x: np.argsort(x)), elementwise=False, dtype="int64", name=next(names))
    out = op(tg.tensor(X[::-1], requires_grad=True))
    assert out.dtype == np.int64 and not out.requires_grad
    assert out.tolist() == [3, 2, 1, 0]


def test_operands_are_never_written_to():
    @numba.njit
    def spoils(x):
        x[0] = 99.0
        return x

    op = tg.custom_op(spoils, lambda g, out, x: g, elementwise=False, name=next(names))
    x = tg.tensor(X)
    assert op(x).tolist() == [99.0, *X[1:]]
    assert x.tolist() == X.tolist()


def test_wrong_shape_is_an_error():
    op = tg.custom_op(lambda x: x[1:].copy(), elementwise=False, name=next(names))
    with pytest.raises(ValueError, match="returned an array of another shape"):
        op(X).numpy()
    with pytest.raises(TypeError, match="returns an array of 1 dimensions"):
        tg.custom_op(lambda x: x.ravel(), elementwise=False, name=next(names))(np.ones((2, 2)))
    with pytest.raises(ValueError, match="shape= must return a shape"):
        tg.custom_op(f1, elementwise=False, shape=lambda s: "ab", name=next(names))(X)
    with pytest.raises(TypeError, match="does not compile"):
        tg.custom_op(lambda x: x.nothing, elementwise=False, name=next(names))(X)


def test_exceptions_in_array_code():
    op = tg.custom_op(lambda x: x[np.array([7])], elementwise=False, shape=lambda s: (1,), name=next(names))
    with pytest.raises(
        RuntimeError, match=r"IndexError: index 7 is out of bounds .*recorded at test_custom.py:"
    ):
        op(X).numpy()

    @numba.njit
    def rule(g, out, x):
        if x[0] < 0:
            raise ValueError("negative")
        return g

    op = tg.custom_op(running, rule, elementwise=False, name=next(names))
    x = tg.tensor(X, requires_grad=True)
    with pytest.raises(RuntimeError, match="ValueError: negative"):
        op(x).sum().backward()


def test_derivative_of_the_wrong_shape():
    op = tg.custom_op(running, lambda g, out, x: tg.concat([g, g]), elementwise=False, name=next(names))
    x = tg.tensor(X, requires_grad=True)
    with pytest.raises(
        ValueError, match=r"derivative for operand 0 has shape \(8,\), but the operand has shape \(4,\)"
    ):
        op(x).sum().backward()
    broadcast = tg.custom_op(
        total, lambda g, out, x: g, elementwise=False, shape=lambda s: (), name=next(names)
    )
    check_grads(broadcast, [X], order=1)


def test_array_operation_without_derivative():
    op = tg.custom_op(running, elementwise=False, name=next(names))
    with pytest.raises(RuntimeError, match="no derivative was given"):
        op(tg.tensor(X, requires_grad=True)).sum().backward()


def test_memory_of_many_calls(tape):
    op = tg.custom_op(running, running_rule, elementwise=False, name=next(names))
    x = tg.tensor(X, requires_grad=True)
    for _ in range(2000):
        op(x).sum().backward()
    assert len(tape) < 2000 and len(tape.signatures) < 50


# --- under the transforms -------------------------------------------------------------------------


def test_transforms():
    op = tg.custom_op(wave, wave_rules)
    curve = tg.custom_op(running, running_expression, elementwise=False)
    v = np.array([0.5, -1.0, 2.0, 0.25])

    def f(x):
        return (curve(op(x, x)) ** 2).sum()

    def plain(x):
        return (tg.cumsum(tg.sin(x) * x) ** 2).sum()

    np.testing.assert_allclose(tg.grad(f)(X), tg.grad(plain)(X), rtol=1e-12)
    np.testing.assert_allclose(tg.hvp(f, X, v), tg.hvp(plain, X, v), rtol=1e-12)
    for found, expected in zip(tg.jvp(f, (X,), (v,)), tg.jvp(plain, (X,), (v,))):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_compiled():
    op = tg.custom_op(wave, wave_rules)
    curve = tg.custom_op(running, running_rule, elementwise=False, name=next(names))
    bent = tg.custom_op(
        lambda x: max(x, 0.0), numba.njit(lambda g, out, x: g if x > 0 else 0.0), name=next(names)
    )

    def f(x):
        return (curve(op(x, x)) * bent(x)).sum()

    compiled = tg.compile(tg.value_and_grad(f))
    for x in (X, X[::-1].copy(), 3.0 * X):
        expected = tg.value_and_grad(lambda x: (tg.cumsum(tg.sin(x) * x) * tg.maximum(x, 0.0)).sum())(x)
        value, gradient = compiled(x)
        np.testing.assert_allclose(value, expected[0], rtol=1e-12)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-12)
    assert compiled.stats().replays == 2 and compiled.stats().recordings == 1


@pytest.mark.parametrize("shape", [(), (5,), (5000,)])
def test_exceptions_in_a_replay(shape):
    """Never a silent answer: neither in scalar stretches nor in regions of one or several tiles."""

    @tg.custom_op(derivative=lambda g, out, x: g, name=next(names))
    def checked(x):
        if x < 0:
            raise ValueError("negative input")
        return x

    compiled = tg.compile(lambda x: (checked(x) * 2.0).sum())
    good, bad = np.ones(shape), np.ones(shape)
    bad[...] = np.where(np.arange(bad.size).reshape(shape) == bad.size - 1, -1.0, 1.0)
    assert compiled(good) == 2.0 * good.size
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ValueError: negative input"):
            compiled(bad)
        assert compiled(good) == 2.0 * good.size
    assert compiled.stats().replays >= 2
