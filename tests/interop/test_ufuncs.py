"""Every ufunc of NumPy on tensors: calls, their options, and reduce, accumulate, outer, at."""

import operator

import numpy as np
import pytest
from numpy.testing.overrides import get_overridable_numpy_ufuncs

import tapegrad as tg
from tapegrad.interop.ufuncs import _repeated, _target
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
UFUNCS = sorted(
    {
        u.__name__: u
        for u in get_overridable_numpy_ufuncs()
        if getattr(np, u.__name__, None) is u and any(set(t) <= set("bhilqBHILQ?fdg->") for t in u.types)
    }.items()
)
KNOWN = [(n, u) for n, u in UFUNCS if _target(u) is not None]
UNKNOWN = [(n, u) for n, u in UFUNCS if _target(u) is None]
BINARY = [(n, u) for n, u in KNOWN if u.nin == 2 and u.nout == 1 and u.signature is None]
METHODS = [
    (n, u, way)
    for n, u in UFUNCS
    if u.nin == 2 and u.nout == 1 and u.signature is None
    for way in ("folds", "scans")
]
ids = lambda cases: [c[0] for c in cases]
ranges = {"arccosh": (1.1, 3.0)}


def operands(ufunc, count=None, shape=(3, 4)):
    """Arrays that a ufunc takes: floating if it can, in (0.1, 0.9)."""
    kinds = ufunc.types[-1].split("->")[0] if ufunc.signature is None else "dd"
    whole = not any("d" in t.split("->")[0] for t in ufunc.types)
    low, high = ranges.get(ufunc.__name__, (0.1, 0.9))
    if ufunc.signature is not None:
        shape = (3, 3)
    arrays = []
    for k in range(count or ufunc.nin):
        if whole or (ufunc is np.ldexp and k == 1):
            arrays.append(RNG.integers(1, 7, shape))
        else:
            arrays.append(RNG.uniform(low, high, shape))
    assert len(kinds) >= 1
    return arrays


def same(out, expected, rtol=1e-13):
    out = out if isinstance(out, tuple) else (out,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(out) == len(expected)
    for o, e in zip(out, expected, strict=True):
        assert isinstance(o, tg.Tensor)
        assert o.shape == np.shape(e) and o.dtype == np.asarray(e).dtype
        np.testing.assert_allclose(o.detach().numpy(), e, rtol=rtol, atol=1e-15)


@pytest.mark.parametrize(("name", "ufunc"), KNOWN, ids=ids(KNOWN))
def test_call(name, ufunc):
    arrays = operands(ufunc)
    same(ufunc(*map(tg.tensor, arrays)), ufunc(*arrays))
    if ufunc.nin == 2:  # an array on either side
        same(ufunc(arrays[0], tg.tensor(arrays[1])), ufunc(*arrays))
        same(ufunc(tg.tensor(arrays[0]), arrays[1]), ufunc(*arrays))


@pytest.mark.parametrize(("name", "ufunc"), UNKNOWN, ids=ids(UNKNOWN))
def test_what_is_unknown_says_so(name, ufunc):
    with pytest.raises(TypeError, match=rf"^{name}: tapegrad has no such operation; .*detach\(\)\.numpy\(\)"):
        ufunc(*map(tg.tensor, operands(ufunc)))


@pytest.mark.parametrize(("name", "ufunc"), KNOWN, ids=ids(KNOWN))
def test_out(name, ufunc):
    arrays = operands(ufunc)
    expected = ufunc(*arrays)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for make in (np.zeros_like, lambda e: tg.tensor(np.zeros_like(e))):
        outs = tuple(make(e) for e in expected)
        result = ufunc(*map(tg.tensor, arrays), out=outs if len(outs) > 1 else outs[0])
        result = result if isinstance(result, tuple) else (result,)
        for r, out, e in zip(result, outs, expected, strict=True):
            assert r is out
            np.testing.assert_allclose(np.asarray(out), e, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("name", "ufunc"), BINARY, ids=ids(BINARY))
def test_outer(name, ufunc):
    x, y = operands(ufunc, shape=(3,))
    same(ufunc.outer(tg.tensor(x), tg.tensor(y)), ufunc.outer(x, y))
    same(ufunc.outer(x, tg.tensor(y)), ufunc.outer(x, y))


@pytest.mark.parametrize(("name", "ufunc", "way"), METHODS, ids=[f"{n}-{w}" for n, _, w in METHODS])
def test_reduce_and_accumulate(name, ufunc, way):
    method = operator.attrgetter("reduce" if way == "folds" else "accumulate")(ufunc)
    (x,) = operands(ufunc, 1)
    if _repeated(ufunc, way) is None:
        with pytest.raises(TypeError, match=rf"^{name}\.{method.__name__}: tapegrad has no such operation"):
            method(tg.tensor(x))
        return
    t = tg.tensor(x)
    for axis in (0, 1, -1):
        same(method(t, axis=axis), method(x, axis=axis))
    same(method(t), method(x))
    if way == "folds":
        same(method(t, axis=None), method(x, axis=None))
        same(method(t, axis=(0, 1), keepdims=True), method(x, axis=(0, 1), keepdims=True))
        same(method(t[0, 0]), method(x[0, 0]))


# --- options --------------------------------------------------------------------------------------

X, Y = RNG.uniform(0.5, 1.5, (3, 4)), RNG.uniform(0.5, 1.5, (3, 4))
MASK = X > 1.0


def test_reductions_take_where_and_initial():
    x, mask = tg.tensor(X), tg.tensor(MASK)
    same(np.add.reduce(x, where=mask, initial=2.0), np.add.reduce(X, where=MASK, initial=2.0))
    same(np.maximum.reduce(x, 1, where=mask, initial=0.9), np.maximum.reduce(X, 1, where=MASK, initial=0.9))
    same(np.multiply.reduce(x, dtype=np.float32), np.multiply.reduce(X, dtype=np.float32), 1e-6)
    same(np.logical_and.reduce(x, where=mask), np.logical_and.reduce(X, where=MASK))
    same(np.add.accumulate(x, 1, dtype=np.float32), np.add.accumulate(X, 1, dtype=np.float32), 1e-6)
    for call, word in [
        (lambda: np.logaddexp.reduce(x, initial=1.0), "'initial'"),
        (lambda: np.logaddexp.reduce(x, where=mask), "'where'"),
        (lambda: np.maximum.reduce(x, dtype=np.float32), "'dtype'"),
        (lambda: np.add.reduce(x, initial=None), "'initial=None'"),
    ]:
        with pytest.raises(TypeError, match=f"reduce: the argument {word} is not supported"):
            call()


def test_reduce_into_out():
    out = np.zeros(4)
    assert np.add.reduce(tg.tensor(X), out=out) is out
    np.testing.assert_allclose(out, X.sum(0))


def test_where_chooses_what_is_written():
    out = np.full((3, 4), 7.0)
    assert np.multiply(tg.tensor(X), Y, out=out, where=MASK) is out
    np.testing.assert_allclose(out, np.where(MASK, X * Y, 7.0))
    x, out = tg.tensor(X, requires_grad=True), tg.full((3, 4), 7.0)
    np.sin(x, out=out, where=tg.tensor(MASK))
    np.testing.assert_allclose(out.detach().numpy(), np.where(MASK, np.sin(X), 7.0))
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.where(MASK, np.cos(X), 0.0))
    with pytest.raises(TypeError, match="sin: the argument 'where' needs 'out'"):
        np.sin(x, where=MASK)


def test_gradients_flow_into_a_tensor_that_is_out():
    def f(x, y):
        out = tg.zeros((3, 4))
        np.multiply(x, y, out=out)
        return np.add(out, x, out=out)

    check_grads(f, (X, Y))


def test_an_operand_may_be_out():
    def f(x):
        y = x * 2.0
        np.sin(y, out=y)
        np.multiply(y, y, out=y)
        np.cumsum(y, axis=0, out=y)
        np.clip(y, 0.1, 0.9, out=y)
        return y

    check_grads(f, (X,))
    expected = np.clip(np.cumsum(np.sin(2 * X) ** 2, axis=0), 0.1, 0.9)
    np.testing.assert_allclose(f(tg.tensor(X)).numpy(), expected)


def test_an_array_never_takes_a_gradient():
    x = tg.tensor(X, requires_grad=True)
    for call in [
        lambda: np.sin(x, out=np.zeros((3, 4))),
        lambda: np.add.at(np.zeros((3, 4)), 0, x[0]),
        lambda: np.sum(x, out=np.zeros(())),
        lambda: np.copyto(np.zeros((3, 4)), x),
        lambda: np.put_along_axis(np.zeros((3, 4)), np.zeros((1, 4), int), x[:1], 0),
    ]:
        with pytest.raises(TypeError, match="gradient"):
            call()


def test_a_compiled_function_does_not_write_into_arrays():
    a = np.zeros(3)

    @tg.compile
    def f(x):
        np.sin(x, out=a)
        return x

    with pytest.raises(TypeError, match="only once"):
        f(np.ones(3))


def test_a_leaf_is_not_written_into():
    leaf = tg.tensor(X, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        np.sin(leaf, out=leaf)
    with pytest.raises(RuntimeError, match="leaf"):
        np.add.at(leaf, 0, 1.0)


def test_out_must_fit():
    x = tg.tensor(X)
    with pytest.raises(TypeError, match=r"cannot cast the result from float64 to int64.*'same_kind'"):
        np.add(x, 1, out=np.zeros((3, 4), int))
    out = np.zeros((3, 4), int)
    np.add(x, 1, out=out, casting="unsafe")
    np.testing.assert_array_equal(out, (X + 1).astype(int))
    with pytest.raises(ValueError, match=r"shape \(3, 4\) does not fit"):
        np.add(x, 1, out=np.zeros(4))
    with pytest.raises(TypeError, match="array type"):
        np.sum(x, out=1.0)
    wide = np.zeros((2, 3, 4))
    np.add(x, 1, out=wide)
    np.testing.assert_allclose(wide, np.broadcast_to(X + 1, (2, 3, 4)))


def test_dtype_and_casting():
    x, n = tg.tensor(X), tg.tensor([1, 2, 3])
    same(np.add(x, Y, dtype=np.float32), np.add(X, Y, dtype=np.float32), 1e-6)
    same(np.multiply(n, 2, dtype=np.int8), np.multiply([1, 2, 3], 2, dtype=np.int8))
    same(np.sin(n, dtype=np.float32), np.sin(np.array([1, 2, 3]), dtype=np.float32), 1e-6)
    same(np.greater(x, Y, dtype=bool), X > Y)
    same(np.add(x, Y, casting="safe", order="C", subok=False), X + Y)
    for call, word in [
        (lambda: np.add(x, 1, dtype=np.int64), "cannot cast an operand from float64 to int64"),
        (lambda: np.add(n, 1.5, dtype=np.int64), "cannot cast an operand from float64 to int64"),
        (lambda: np.add(x, Y, dtype=np.float32, casting="safe"), "'safe'"),
        (lambda: np.divide(n, 2, dtype=np.int64), "'dtype=int64'"),
        (lambda: np.greater(x, Y, dtype=object), "'dtype=object'"),
        (lambda: np.add(x, Y, casting="no"), "'casting'"),
        (lambda: np.add(x, Y, order="F"), "'order'"),
        (lambda: np.add(x, Y, signature="dd->d"), "'signature'"),
        (lambda: np.matmul(x, Y.T, axes=[(0, 1), (0, 1), (0, 1)]), "'axes'"),
    ]:
        with pytest.raises(TypeError, match=word):
            call()


# --- at -------------------------------------------------------------------------------------------

KEYS = [
    0,
    -1,
    slice(1, None),
    (slice(None), 1),
    ([0, 2, 0],),
    ([0, 0, 2], [1, 1, 3]),
    np.array([[0, 1], [1, 1]]),
    MASK,
    ([1, 1], slice(None, None, 2)),
    ...,
]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("ufunc", [np.add, np.subtract])
def test_at(ufunc, key):
    value = RNG.normal(size=X[key].shape)
    expected = X.copy()
    ufunc.at(expected, key, value)
    for v in (value, tg.tensor(value)):
        x = tg.tensor(X)
        assert ufunc.at(x, key, v) is None
        np.testing.assert_allclose(x.numpy(), expected)

    def f(x, v):
        y = x * 1.0
        ufunc.at(y, key, v)
        return y * y

    check_grads(f, (X, value))


def test_at_with_indices_that_are_tensors_and_numbers():
    x, index = tg.tensor(np.zeros(4, np.int64)), tg.tensor([1, 1, 3])
    np.add.at(x, index, 2)
    assert x.tolist() == [0, 4, 0, 2]
    a = np.zeros(4)
    np.add.at(a, np.array([0, 0]), tg.tensor([1.0, 2.0]))
    assert a.tolist() == [3.0, 0.0, 0.0, 0.0]
    with pytest.raises(TypeError, match=r"multiply\.at: tapegrad has no such operation"):
        np.multiply.at(x, index, 2)
    with pytest.raises(TypeError, match=r"add\.at: cannot cast"):
        np.add.at(x, index, 1.5)


def test_places_are_the_users():
    x = tg.tensor(X, requires_grad=True)
    tape = tg.tape.current.tape
    for out in (
        np.sin(x),
        Y * x,
        np.multiply(x, [1.0] * 4),
        np.add.reduce(x),
        np.sum(x, axis=0),
        np.add(x, x, dtype=float),
    ):
        assert tape.source(out._slot).startswith("test_ufuncs.py:")


# --- others ---------------------------------------------------------------------------------------


def test_foreign_types_are_asked_themselves():
    class Foreign:
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return "foreign"

    assert np.add(tg.tensor(X), Foreign()) == "foreign"
    with pytest.raises(TypeError):
        np.add(tg.tensor(X), object())


def test_operators_with_arrays_on_the_left():
    x = tg.tensor(X, requires_grad=True)
    for op in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.matmul):
        a = Y if op is not operator.matmul else Y.T
        same(op(a, x), op(a, X))
        same(
            op(np.float64(2.0), x) if op is not operator.matmul else op(x, a), op(2.0, X) if a is Y else X @ a
        )
    (Y * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), Y)


def test_gradients_through_parts_of_numbers():
    check_grads(lambda x: np.modf(x)[0] * x, (X + 0.1,))
    check_grads(lambda x: np.frexp(x)[0] * x, (RNG.uniform(1.1, 1.9, 5),))
    check_grads(lambda x, y: np.divmod(x, y)[1], (np.array([5.3, 7.9]), np.array([2.2, 3.1])))
    check_grads(lambda x, y: np.logaddexp2(x, y), (X, X.copy()))
    check_grads(lambda x, y: np.float_power(x, y), (X, Y))
