"""What is derived from the table: names, methods, operators, NumPy's dispatch."""

import inspect
import operator

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops.table import PUBLIC, Kind, rows

BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]
COMPARE = ["eq", "ne", "lt", "le", "gt", "ge"]
A, B = np.array([1.5, -2.0, 3.0]), np.array([0.5, 2.0, 3.0])


def public_names():
    for row in rows:
        if row.kind is Kind.ELEMENTWISE and row.public and not row.home:
            yield from (row.name, *row.aliases)
    for name, entry in PUBLIC.items():
        if not entry.home:
            yield from (name, *entry.aliases)


@pytest.mark.parametrize("name", sorted(public_names()))
def test_every_name_is_exported_and_documented(name):
    function = getattr(tg, name)
    assert name in tg.__all__ and name in dir(tg)
    assert function.__doc__ and inspect.signature(function)
    assert inspect.isfunction(function)


def test_methods_exist():
    for row in rows:
        if row.kind is Kind.ELEMENTWISE and row.public and row.method:
            for name in (row.name, *row.aliases):
                assert callable(getattr(tg.Tensor, name))
    for entry in PUBLIC.values():
        if entry.method:
            assert hasattr(tg.Tensor, entry.name)


@pytest.mark.parametrize("name", BINARY + COMPARE)
def test_operators_in_every_combination(name):
    op = getattr(operator, name)
    a, b = np.abs(A), B
    for x, y in [(a, b), (a, 2.0), (2.0, b), (a, 2), (3, b), (a, np.float64(2)), (np.float64(2), b)]:
        expected = op(x, y)
        tx = tg.tensor(x) if isinstance(x, np.ndarray) else x
        ty = tg.tensor(y) if isinstance(y, np.ndarray) else y
        for left, right in [(tx, ty), (tx, y), (x, ty)]:
            if isinstance(left, tg.Tensor) or isinstance(right, tg.Tensor):
                out = op(left, right)
                assert isinstance(out, tg.Tensor), (type(left), type(right))
                np.testing.assert_allclose(out.numpy(), expected, rtol=1e-15)
                assert out.dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("name", ["and_", "or_", "xor", "lshift", "rshift"])
def test_integer_operators(name):
    op = getattr(operator, name)
    x, y = np.array([6, 5, 9]), np.array([3, 1, 2])
    for left, right in [
        (tg.tensor(x), tg.tensor(y)),
        (tg.tensor(x), y),
        (x, tg.tensor(y)),
        (tg.tensor(x), 2),
    ]:
        expected = op(
            np.asarray(left.numpy() if isinstance(left, tg.Tensor) else left),
            right.numpy() if isinstance(right, tg.Tensor) else right,
        )
        np.testing.assert_array_equal(op(left, right).numpy(), expected)


def test_unary_operators():
    x = tg.tensor(A)
    np.testing.assert_array_equal((-x).numpy(), -A)
    np.testing.assert_array_equal((+x).numpy(), A)
    np.testing.assert_array_equal(abs(x).numpy(), abs(A))
    np.testing.assert_array_equal((~tg.tensor([1, 2])).numpy(), ~np.array([1, 2]))
    np.testing.assert_array_equal(round(x).numpy(), np.round(A))
    quotient, rest = divmod(x, 2.0)
    np.testing.assert_array_equal((quotient * 2.0 + rest).numpy(), A)


def test_matmul_operator():
    m = np.arange(6.0).reshape(2, 3)
    for out in (tg.tensor(m) @ A, m @ tg.tensor(A), tg.tensor(m) @ tg.tensor(A)):
        np.testing.assert_allclose(out.numpy(), m @ A)
    with pytest.raises(TypeError):
        tg.tensor(m) @ "a"


def test_foreign_operands_are_left_to_their_own_operators():
    class Foreign:
        def __radd__(self, other):
            return "foreign"

    x = tg.tensor(1.0)
    assert x + Foreign() == "foreign"
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    with pytest.raises(TypeError):
        x + "a"
    with pytest.raises(TypeError):
        x < None  # noqa: B015


@pytest.mark.parametrize("name", BINARY)
def test_in_place_operators(name):
    op = getattr(operator, "i" + name)
    x = tg.tensor(np.abs(A))
    same = op(x, 2.0)
    assert same is x
    np.testing.assert_allclose(x.numpy(), getattr(operator, name)(np.abs(A), 2.0))


def test_in_place_methods_return_the_tensor():
    x = tg.tensor(np.abs(A))
    assert x.add_(1.0).mul_(2.0).exp_() is x
    np.testing.assert_allclose(x.numpy(), np.exp((np.abs(A) + 1) * 2))
    assert x.clamp_(0.0, 1.0).zero_().fill_(3.0).tolist() == [3.0] * 3
    assert x.copy_([1, 2, 3]).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"copy_.*\(2,\)"):
        x.copy_([1.0, 2.0])
    with pytest.raises(ValueError, match="fill_"):
        x.fill_([1.0, 2.0])
    with pytest.raises(RuntimeError, match="add_"):
        x.add_(np.ones((2, 3)))


def test_copy_takes_nothing_from_its_source():
    source = tg.tensor([1.0, 2.0], requires_grad=True)
    result = source * 2.0
    target = tg.zeros(2)
    target.copy_(result)
    target += 1.0
    result.sum().backward()
    assert result.tolist() == [2.0, 4.0] and target.tolist() == [3.0, 5.0]
    assert source.grad.tolist() == [2.0, 2.0]


def test_in_place_names_the_users_line():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1.0
    y += 1.0
    tape = tg.tape.current.tape
    assert tape.source(y._slot).startswith("test_namespace.py:")


def test_numpy_functions_record():
    x = tg.tensor(np.abs(A), requires_grad=True)
    out = np.sum(np.sin(x) * np.exp(A)) + np.concatenate([x, A]).sum() + np.matmul(A, x)
    out.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.cos(np.abs(A)) * np.exp(A) + 1 + A)


def test_numpy_functions_that_only_look():
    x = tg.tensor(A, requires_grad=True)
    assert np.allclose(x, A) and np.array_equal(x, A)
    assert np.shape(x) == (3,) and np.ndim(x) == 1 and np.size(x) == 3


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda x: np.sin(x, where=np.array([True, False, True])), "sin.*'where'"),
        (lambda x: np.subtract.reduce(x), "subtract.reduce"),
        (lambda x: np.add.reduceat(x, [0]), "add.reduceat"),
        (lambda x: np.spacing(x), "spacing"),
        (lambda x: np.roots(x), "roots"),
    ],
)
def test_what_numpy_may_not_ask(call, word):
    with pytest.raises(TypeError, match=word):
        call(tg.tensor(A))


def test_array_iadd_tensor_never_loses_a_gradient():
    a = A.copy()
    with pytest.raises(TypeError, match="out"):
        a += tg.tensor(B, requires_grad=True)
    np.testing.assert_array_equal(a, A)
    a += tg.tensor(B)
    np.testing.assert_array_equal(a, A + B)


def test_sequence_protocol():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert [row.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    assert 3.0 in x and 5.0 not in x and len(x) == 2
    with pytest.raises(TypeError, match="0-d"):
        iter(tg.tensor(1.0))


def test_nested_lists_of_tensors_are_operands():
    a, b = tg.tensor(1.0, requires_grad=True), tg.tensor(2.0, requires_grad=True)
    (tg.tensor([[1.0, 2.0], [3.0, 4.0]]) * [[a, b], [b, a]]).sum().backward()
    assert a.grad.item() == 5.0 and b.grad.item() == 5.0


def test_conversions():
    x = tg.tensor([1.5, 2.5], requires_grad=True)
    assert x.to(tg.float64) is x and x.double() is x and x.to("cpu") is x
    assert x.float().dtype == tg.float32 and x.long().tolist() == [1, 2] and x.bool().dtype == tg.bool
    assert x.type() == "float64" and x.type(tg.float32).dtype == tg.float32
    x.float().sum().backward()
    assert x.grad.dtype == tg.float64 and x.grad.tolist() == [1.0, 1.0]
    assert x.cdouble().dtype == tg.complex128
    with pytest.raises(TypeError, match="float16"):
        x.astype(np.float16)
    with pytest.raises(ValueError, match="device"):
        x.to("cuda")


def test_transposes():
    x = tg.tensor(np.arange(24.0).reshape(2, 3, 4))
    np.testing.assert_array_equal(x.T.numpy(), x.numpy().T)
    np.testing.assert_array_equal(x.mT.numpy(), x.numpy().swapaxes(1, 2))
    with pytest.raises(ValueError, match="mT"):
        tg.tensor([1.0]).mT


def test_dtype_functions():
    assert tg.result_type(tg.int32, tg.float32) == tg.float64
    assert tg.isdtype(tg.int8, "signed integer") and not tg.isdtype(tg.int8, ("bool", tg.float32))
    assert tg.finfo(tg.tensor(1.0)).eps == np.finfo(float).eps and tg.iinfo("int8").min == -128
    assert tg.can_cast(tg.tensor([1]), tg.float64)
    assert tg.pi == np.pi and tg.newaxis is None
    with pytest.raises(ValueError, match="isdtype"):
        tg.isdtype(tg.int8, "integers")


def test_array_namespace():
    assert tg.tensor(1.0).__array_namespace__() is tg


def test_dlpack_both_ways():
    x = tg.tensor([1.0, 2.0])
    out = np.from_dlpack(x)
    assert out.tolist() == [1.0, 2.0] and not out.flags.writeable
    assert tg.from_dlpack(np.array([1.0, 2.0])).tolist() == [1.0, 2.0]
