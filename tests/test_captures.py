"""What compiled functions capture: arrays by reference, numbers and objects compared, nothing stale."""

import enum
import random
import types

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.compiled.captures import Environment, typed

SCALE = 2.0
WEIGHTS = np.array([1.0, 2.0])
TENSOR = tg.tensor([1.0, 2.0])
TABLE = {"k": 3.0, "list": [1.0, 2.0]}
LAYERS = [(np.ones((2, 2)), np.zeros(2)), (np.eye(2), np.ones(2))]
COUNTER = 0
settings = types.ModuleType("settings_of_the_user")
settings.__file__ = __file__
settings.alpha = 1.0
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _globals():
    """Every test starts with the same globals."""
    names = ("SCALE", "WEIGHTS", "TENSOR", "TABLE", "LAYERS", "COUNTER")
    before = {n: globals()[n] for n in names}
    globals().update(WEIGHTS=np.array([1.0, 2.0]), TENSOR=tg.tensor([1.0, 2.0]), COUNTER=0)
    globals().update(TABLE={"k": 3.0, "list": [1.0, 2.0]})
    globals().update(LAYERS=[(np.ones((2, 2)), np.zeros(2)), (np.eye(2), np.ones(2))])
    settings.alpha = 1.0
    yield
    globals().update(before)


def helper(x):
    return x * SCALE


X = np.array([3.0, 4.0])


def same(compiled, function, *args):
    np.testing.assert_array_equal(compiled(*args), function(*map(tg.tensor, args)).numpy())


def test_arrays_are_taken_by_reference():
    def f(x):
        return x * WEIGHTS

    c = tg.compile(f)
    for k in range(4):
        WEIGHTS[:] = k
        same(c, f, X)
    assert c.stats().recordings == 1


def test_a_rebound_array_is_read_not_recorded_again():
    def f(x):
        return x * WEIGHTS + WEIGHTS[::-1]

    c = tg.compile(f)
    for k in range(3):
        globals()["WEIGHTS"] = np.array([k, 1.0])
        same(c, f, X)
        WEIGHTS[1] = 7.0
        same(c, f, X)
    assert c.stats().recordings == 1
    globals()["WEIGHTS"] = np.array([[1.0], [2.0]])
    same(c, f, X)
    globals()["WEIGHTS"] = np.array([1, 2])
    same(c, f, X)
    assert c.stats().recordings == 3


def test_an_array_reshaped_in_place():
    w = np.arange(4.0)

    def f(x):
        return (x[0] * w).sum() + w.size * len(w)

    c = tg.compile(f)
    same(c, f, X)
    w.resize((2, 2), refcheck=False)
    same(c, f, X)


def test_tensors_are_taken_by_reference():
    def f(x):
        return x * TENSOR

    c = tg.compile(f)
    same(c, f, X)
    with tg.no_grad():
        TENSOR.add_(1.0)
    same(c, f, X)
    globals()["TENSOR"] = tg.tensor([5.0, 6.0]) * 2
    same(c, f, X)
    assert c.stats().recordings == 1
    globals()["TENSOR"] = tg.tensor(2.0)
    same(c, f, X)
    assert c.stats().recordings == 2


def test_closures():
    k, w, unused = 2.0, np.array([1.0, 2.0]), [1]

    def f(x):
        return x * w + k if unused else x

    def change(new_k=None, new_w=None):
        nonlocal k, w
        k = k if new_k is None else new_k
        w = w if new_w is None else new_w

    c = tg.compile(f)
    same(c, f, X)
    change(new_w=np.array([3.0, 4.0]))
    same(c, f, X)
    assert c.stats().recordings == 1
    change(new_k=5.0)
    same(c, f, X)
    assert c.stats().recordings == 2
    change(new_k=float("5.0"))  # another object of the same value
    same(c, f, X)
    assert c.stats().recordings == 2
    change(new_k=5)  # equal, of another type
    same(c, f, X)
    assert c.stats().recordings == 3
    unused.clear()
    same(c, f, X)
    assert c.stats().recordings == 4


def test_the_sign_of_zero_counts():
    z = 0.0

    def f(x):
        return tg.copysign(x, z)

    c = tg.compile(f)
    same(c, f, X)
    z = -0.0
    same(c, f, X)
    z = float("nan")
    same(c, f, X)
    assert c.stats().recordings == 3
    z = float("nan")
    same(c, f, X)
    assert c.stats().recordings == 3


def test_globals_of_helpers(monkeypatch):
    def f(x):
        return (lambda y: helper(y) + SCALE)(x)

    c = tg.compile(f)
    same(c, f, X)
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    same(c, f, X)
    monkeypatch.setitem(globals(), "helper", lambda x: x)
    same(c, f, X)
    assert c.stats().recordings == 3
    monkeypatch.undo()
    same(c, f, X)
    assert c.stats().recordings == 3  # what was recorded for the old values has been kept


def test_names_used_only_in_nested_code():
    def f(x):
        return tg.stack([x * SCALE * k for k in (1, 2)]).sum(axis=0)

    c = tg.compile(f)
    same(c, f, X)
    globals()["SCALE"] = 9.0
    same(c, f, X)


def test_containers():
    def f(x):
        return x * TABLE["k"] + TABLE["list"][0]

    c = tg.compile(f)
    same(c, f, X)
    TABLE["k"] = 4.0
    same(c, f, X)
    TABLE["list"][0] = 9.0
    same(c, f, X)
    TABLE["list"] = [7.0, 8.0]
    same(c, f, X)
    del TABLE["list"][1]
    same(c, f, X)
    assert c.stats().recordings >= 4
    n = c.stats().recordings
    same(c, f, X)
    assert c.stats().recordings == n


def test_sets():
    chosen = {0}

    def f(x):
        return x.sum() if 1 in chosen else x[0]

    c = tg.compile(f)
    same(c, f, X)
    chosen.add(1)
    same(c, f, X)


def test_arrays_in_containers():
    def f(x):
        for w, b in LAYERS:
            x = tg.tanh(w @ x + b)
        return x

    c = tg.compile(f)
    same(c, f, X)
    LAYERS[0][0][0, 1] = -3.0
    same(c, f, X)
    assert c.stats().recordings == 1
    LAYERS.append((np.ones((2, 2)), np.ones(2)))
    same(c, f, X)
    assert c.stats().recordings == 2
    params = {"w": np.ones(2)}
    g = tg.compile(lambda x: x * params["w"])
    for k in range(3):
        params["w"] = params["w"] + k
        np.testing.assert_array_equal(g(X), X * params["w"])
    assert g.stats().recordings == 1


class Base:
    bias = 1.0

    @property
    def twice(self):
        return 2 * self.hidden

    @staticmethod
    def shift(x):
        return x + SCALE


class Model(Base):
    __slots__ = ("slot",)

    def __init__(self):
        self.hidden, self.slot, self.inner = 3.0, 4.0, types.SimpleNamespace(w=np.array([1.0, 2.0]))

    def part(self, x):
        return x * self.inner.w + self.slot


def test_attributes():
    model = Model()

    def f(x):
        return model.shift(model.part(x)) * model.twice + model.bias

    c = tg.compile(f)
    same(c, f, X)
    steps = [
        (2, lambda: setattr(model, "hidden", 5.0)),
        (3, lambda: setattr(model, "slot", 6.0)),
        (4, lambda: setattr(Base, "bias", 2.0)),
        (5, lambda: setattr(model, "bias", 3.0)),  # now hides the class's
        (5, lambda: setattr(model.inner, "w", np.array([5.0, 6.0]))),
        (5, lambda: model.inner.w.fill(9.0)),
        (6, lambda: setattr(Model, "part", lambda self, x: x)),
    ]
    part = Model.part
    try:
        for recordings, step in steps:
            step()
            same(c, f, X)
            same(c, f, X)
            assert c.stats().recordings == recordings
    finally:
        Base.bias = 1.0
        Model.part = part


def test_attributes_of_modules():
    def f(x):
        return x * settings.alpha

    c = tg.compile(f)
    same(c, f, X)
    settings.alpha = 4.0
    same(c, f, X)
    assert c.stats().recordings == 2


class Mode(enum.Enum):
    A = 1
    B = 2


def test_objects_by_identity():
    mode = Mode.A

    def f(x, y=Mode.B):
        return x if mode is Mode.A else -x

    c = tg.compile(f)
    same(c, f, X)
    mode = Mode.B
    same(c, f, X)
    mode = Mode.A
    same(c, f, X)
    assert c.stats().recordings == 2


def test_defaults():
    def f(x, k=[1.0], *, w=np.ones(2)):  # noqa: B006, B008
        return x * w + k[0]

    c = tg.compile(f)
    same(c, f, X)
    f.__kwdefaults__["w"][:] = 3.0
    same(c, f, X)
    assert c.stats().recordings == 1
    f.__defaults__[0][0] = 2.0
    same(c, f, X)


def test_numpy_inside_on_a_captured_array():
    """What NumPy computes is computed once, so the array's content is compared."""

    def f(x):
        return x * WEIGHTS.sum()

    def branch(x):
        if WEIGHTS[0] > 0:
            return x
        return -x

    def both(x):
        s = WEIGHTS.sum()
        y = x * WEIGHTS
        return y / s

    def same_line(x):
        return x * WEIGHTS + WEIGHTS[0]

    def argument(x):
        return tg.where(WEIGHTS > 1.5, WEIGHTS, x)

    for function in (f, branch, both, same_line, argument):
        WEIGHTS[:] = [1.0, 2.0]
        c = tg.compile(function)
        for k in (1.0, -1.0, 3.0):
            WEIGHTS[:] = [k, 2 * k]
            same(c, function, X)
            n = c.stats().recordings
            same(c, function, X)
            assert c.stats().recordings == n, function.__name__


def test_operands_are_not_compared():
    """Arrays that are operands only, in whichever branch, are read and nothing is recorded again."""

    def f(x):
        scale = np.sqrt(2.0)
        n = len(WEIGHTS) + WEIGHTS.shape[0]
        if x.sum() > 0:
            return (x * WEIGHTS / scale).sum() + n
        y = tg.sum(x + WEIGHTS)
        return y + tg.sum(WEIGHTS * x)

    c = tg.compile(f)
    for k in range(6):
        WEIGHTS[:] = k
        x = X if k % 2 else -X
        np.testing.assert_allclose(c(x), f(tg.tensor(x)).item())
    assert c.stats().recordings == 2


def test_indices_and_masks_are_captured_too():
    i, mask = np.array([1, 0, 1]), np.array([True, False])

    def f(x):
        return x[i] * x[mask].sum()

    c = tg.compile(f)
    same(c, f, X)
    i[:] = 0
    same(c, f, X)
    mask[:] = True
    same(c, f, X)
    mask[:] = [True, False]
    same(c, f, X)
    assert c.stats().recordings <= 2


def test_local_arrays_are_constants():
    def f(x):
        buffer = np.zeros(2)
        for k in range(3):
            buffer[:] = k
            x = x * buffer[:1] + buffer
        return x + np.arange(2.0)

    c = tg.compile(f)
    same(c, f, X)
    same(c, f, -X)
    assert c.stats().recordings == 1
    assert not [s for s, _ in c.tape.captures]


def test_an_array_that_the_function_changes():
    buffer = np.zeros(2)

    def f(x):
        y = x + buffer
        buffer[0] += 1.0
        return y

    with pytest.raises(RuntimeError, match=r"changes, while it runs, an array .*test_captures.py:\d+"):
        tg.compile(f)(X)


def test_a_tensor_that_the_function_changes():
    w = tg.zeros(2)
    view = w[:1]

    def f(x):
        w.add_(x)
        return w.sum()

    c = tg.compile(f)
    with pytest.raises(RuntimeError, match=r"changes a tensor from outside .*test_captures.py:\d+.*Return"):
        c(X)
    assert w.tolist() == [0, 0]
    assert view.tolist() == [0]
    w.add_(1.0)
    assert view.tolist() == [1]

    def through_a_view(x):
        view[0] = x[0]
        return view

    with pytest.raises(RuntimeError, match="changes a tensor from outside"):
        tg.compile(through_a_view)(X)
    assert (w.tolist(), view.tolist()) == ([1, 1], [1])


def test_a_gradient_that_the_function_accumulates():
    w = tg.tensor([1.0, 2.0], requires_grad=True)

    def f(x):
        (w * x).sum().backward()
        return w.grad

    with pytest.raises(RuntimeError, match=r"\.grad of a tensor from outside"):
        tg.compile(f)(X)
    assert w.grad is None

    def g(x):
        w.grad = None
        return x

    w.grad = tg.ones(2)
    with pytest.raises(RuntimeError, match=r"changes a tensor from outside \(grad\)"):
        tg.compile(g)(X)
    assert w.grad.tolist() == [1, 1]


def test_derivatives_with_respect_to_captured_tensors():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    c = tg.compile(lambda x: tg.autograd.grad((w * w * x).sum(), w)[0])
    np.testing.assert_array_equal(c(X), 2 * w.detach().numpy() * X)
    with tg.no_grad():
        w.add_(1.0)
    np.testing.assert_array_equal(c(X), 2 * w.detach().numpy() * X)
    assert c.stats().recordings == 1


def test_a_name_that_the_function_rebinds():
    """It is called anew each time, because the result may depend on it."""

    def f(x):
        global COUNTER
        COUNTER += 1
        return x * COUNTER

    c = tg.compile(f, max_traces=3)
    with pytest.warns(tg.GuardWarning, match="COUNTER has changed"):
        out = [c(1.0) for _ in range(8)]
    assert out == [1, 2, 3, 4, 5, 6, 7, 8]


def test_random_numbers_are_refused():
    from random import gauss

    own = np.random.default_rng(1)

    def module(x):
        return x * random.random()

    def numpy_module(x):
        y = x + 1
        return y * np.random.normal()

    def imported(x):
        return x * gauss(0, 1)

    def generator(x):
        return x * own.normal()

    def global_generator(x):
        return x + RNG.normal()

    for f in (module, numpy_module, imported, generator, global_generator):
        line = f.__code__.co_firstlineno + (2 if f is numpy_module else 1)
        with pytest.raises(
            RuntimeError, match=rf"{f.__name__} draws random numbers at test_captures.py:{line};.*argument"
        ):
            tg.compile(f)(1.0)

    def outside(x, noise):
        return x * noise

    assert tg.compile(outside)(2.0, 3.0) == 6.0


def test_compiled_and_transformed_functions_are_looked_into():
    k = 2.0

    def f(x):
        return x * k

    inner = tg.compile(f)
    c = tg.compile(lambda x: inner(x) + 1)
    g = tg.compile(tg.value_and_grad(lambda x: (x * k) * x))
    assert c(1.0) == 3.0
    assert g(1.0) == (2.0, 4.0)
    k = 5.0
    assert c(1.0) == 6.0
    assert g(1.0) == (5.0, 10.0)


def test_typed_tells_equal_values_apart():
    values = [1, 1.0, True, 0.0, -0.0, "1", (1,), (1.0,), (True,), frozenset([1]), frozenset([1.0]), None]
    assert len({typed(v) for v in values}) == len(values)
    assert typed((1, (2.0,))) == typed((1, (2.0,)))


def test_checking_is_quick_to_say_no():
    k = 1.0

    def f(x):
        return x * k

    environment = Environment(f)
    assert environment.unchanged()
    k = 2.0
    assert not environment.unchanged()
    assert environment.difference() == "k"


def test_two_names_of_one_array():
    a = b = np.ones(2)

    def f(x):
        return x * a + b

    c = tg.compile(f)
    same(c, f, X)
    a = np.array([2.0, 3.0])
    same(c, f, X)
    b = a
    same(c, f, X)
    a, b = np.array([5.0, 5.0]), np.array([6.0, 6.0])
    same(c, f, X)
    a, b = b, a
    same(c, f, X)


@pytest.mark.parametrize("n", [10, 1000])
def test_a_name_bound_to_an_array_that_is_not_contiguous(n):
    w = np.ones(n)
    f = tg.compile(lambda x: (w * x).sum())
    assert f(1.0) == n
    w = np.ones(2 * n)[::2]
    for k in range(3):
        w[:] = k
        assert f(1.0) == k * n


def test_arrays_in_containers_that_numpy_computed_with():
    data = {"x": np.ones(3), "y": np.ones(3)}
    f = tg.compile(lambda a: (data["x"] * a).sum() + data["x"].sum())
    g = tg.compile(lambda a: (data["x"] * a).sum() + (data["x"] * data["y"]).sum())
    assert f(1.0) == g(1.0) == 6.0
    data["x"][:] = 2.0
    assert f(1.0) == g(1.0) == 12.0


def test_arrays_in_containers_that_were_operands_only():
    data = {"x": np.ones(3), "y": np.ones(3)}
    layers = [(np.ones((3, 3)), np.zeros(3)), (np.ones((3, 3)), np.zeros(3))]

    def loss(a):
        x, y = data["x"], data["y"]
        for w, b in layers:
            a = a @ w + b
        for _, (w, b) in enumerate(layers):
            a = a @ w + b
        return ((x * a - data["y"]) ** 2).sum() + (data["x"] * a).sum() + (a * y).sum()

    f = tg.compile(loss)
    for k in range(3):
        data["x"][:], data["y"][:], layers[1][1][:] = k, 2 * k, 3 * k
        a = np.ones(3)
        assert f(a) == loss(tg.tensor(a)).item()
    assert f.stats().recordings == 1
