"""Errors: typed as NumPy types them, naming the operation and the shapes, leaving the tape alone."""

import re

import numpy as np
import pytest

import tapegrad as tg

AxisError = np.exceptions.AxisError
A, B, V = np.ones((2, 3)), np.ones((4, 5)), np.ones(3)

CASES = [
    # operation, error, in the message
    ("add", lambda: tg.add(A, tg.tensor(B)), ValueError, ["(2, 3)", "(4, 5)"]),
    ("multiply", lambda: tg.tensor(A) * tg.tensor(B), ValueError, ["(2, 3)", "(4, 5)"]),
    ("maximum", lambda: tg.maximum(tg.tensor(V), tg.tensor(np.ones(4))), ValueError, ["(3,)", "(4,)"]),
    ("where", lambda: tg.where(tg.tensor(A) > 0, tg.tensor(B), 0.0), ValueError, ["(2, 3)", "(4, 5)"]),
    ("matmul", lambda: tg.tensor(A) @ tg.tensor(B), ValueError, ["(2, 3)", "(4, 5)"]),
    ("matmul", lambda: tg.matmul(tg.tensor(A), tg.tensor(1.0)), ValueError, ["()"]),
    ("sum", lambda: tg.sum(tg.tensor(A), axis=2), AxisError, ["axis 2"]),
    ("sum", lambda: tg.sum(tg.tensor(A), axis=(0, 0)), ValueError, ["duplicate"]),
    ("mean", lambda: tg.mean(tg.tensor(A), axis=-3), AxisError, ["-3"]),
    ("max", lambda: tg.max(tg.tensor(np.ones((0, 3))), axis=0), ValueError, ["(0, 3)"]),
    ("argmax", lambda: tg.argmax(tg.tensor(np.ones(0))), ValueError, ["(0,)"]),
    ("cumulative_sum", lambda: tg.cumulative_sum(tg.tensor(A), axis=5), AxisError, ["axis 5"]),
    ("sort", lambda: tg.sort(tg.tensor(A), axis=2), AxisError, ["axis 2"]),
    ("reshape", lambda: tg.reshape(tg.tensor(A), (4, 2)), ValueError, ["(2, 3)", "(4, 2)"]),
    ("reshape", lambda: tg.reshape(tg.tensor(A), (-1, -1)), ValueError, ["(-1, -1)"]),
    ("permute_dims", lambda: tg.permute_dims(tg.tensor(A), (0, 0)), ValueError, ["(0, 0)"]),
    ("squeeze", lambda: tg.squeeze(tg.tensor(A), 0), ValueError, ["(2, 3)"]),
    ("expand_dims", lambda: tg.expand_dims(tg.tensor(A), axis=4), AxisError, ["axis 4"]),
    ("broadcast_to", lambda: tg.broadcast_to(tg.tensor(A), (2, 4)), ValueError, ["(2, 3)", "(2, 4)"]),
    ("concat", lambda: tg.concat([tg.tensor(A), tg.tensor(B)]), ValueError, ["(2, 3)", "(4, 5)"]),
    ("stack", lambda: tg.stack([tg.tensor(A), tg.tensor(B)]), ValueError, ["(2, 3)", "(4, 5)"]),
    ("flip", lambda: tg.flip(tg.tensor(A), axis=2), AxisError, ["axis 2"]),
    ("diagonal", lambda: tg.diagonal(tg.tensor(V)), ValueError, ["(3,)"]),
    ("einsum", lambda: tg.einsum("ij,jk->ik", tg.tensor(A), tg.tensor(B)), ValueError, ["(2, 3)", "(4, 5)"]),
    ("tensordot", lambda: tg.tensordot(tg.tensor(A), tg.tensor(B), 1), ValueError, ["(2, 3)", "(4, 5)"]),
    ("getitem", lambda: tg.tensor(A)[2], IndexError, ["2", "(2, 3)"]),
    ("getitem", lambda: tg.tensor(A)[0, 0, 0], IndexError, ["(2, 3)"]),
    ("getitem", lambda: tg.tensor(A)[0, -4], IndexError, ["-4", "(2, 3)"]),
    ("getitem", lambda: tg.tensor(A)[[0, 5]], IndexError, ["5", "(2, 3)"]),
    ("getitem", lambda: tg.tensor(A)[np.array([True, False, True])], IndexError, ["(2, 3)"]),
    ("getitem", lambda: tg.tensor(A)[1.5], IndexError, []),
    ("setitem", lambda: tg.tensor(A).__setitem__(7, 1.0), IndexError, ["7", "(2, 3)"]),
    ("setitem", lambda: tg.tensor(A).__setitem__(0, np.ones(4)), ValueError, ["(3,)", "(4,)"]),
    ("take", lambda: tg.take(tg.tensor(A), tg.tensor([3]), axis=0), IndexError, ["3"]),
    ("bitwise_and", lambda: tg.bitwise_and(tg.tensor(V), 1), TypeError, ["float64"]),
    ("subtract", lambda: tg.tensor([True]) - tg.tensor([True]), TypeError, ["bool"]),
    ("sin", lambda: tg.sin("text"), TypeError, ["str"]),
    ("add", lambda: tg.add(tg.tensor(V), None), TypeError, ["NoneType"]),
    ("add", lambda: tg.add(tg.tensor(np.ones(3, np.int8)), 300), OverflowError, ["300", "int8"]),
    ("power", lambda: tg.tensor([2]) ** -1, ValueError, ["negative"]),
]


@pytest.mark.parametrize(
    ("name", "call", "kind", "parts"), CASES, ids=[f"{n}-{k}" for k, (n, *_) in enumerate(CASES)]
)
def test_error(tape, name, call, kind, parts):
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert re.match(rf"{name}\b", message), f"{message!r} does not begin with {name!r}"
    for part in parts:
        assert part in message
    operations = [
        line for line in str(tape).splitlines() if line != "(empty tape)" and " = input" not in line
    ]
    allowed = 1 if name == "where" else 0  # the condition is an operation of its own
    assert len(operations) <= allowed, f"the failed operation left {operations}"


def test_tape_still_works_after_errors(tape):
    x = tg.tensor(V, requires_grad=True)
    y = x * 2
    for _ in range(3):
        with pytest.raises(ValueError, match="add"):
            y + tg.tensor(B)
        with pytest.raises(IndexError):
            y[5]
    before = len(tape)
    tape.check()
    assert len(tape) == before
    (y * x).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("value", ["text", None, {"a": 1}, [object()]])
def test_tensor_refuses_what_is_not_numeric(value):
    with pytest.raises(TypeError):
        tg.tensor(value)


def test_ragged_data():
    with pytest.raises(ValueError):
        tg.tensor([[1.0, 2.0], [3.0]])


def test_unsupported_dtype():
    with pytest.raises(TypeError, match="datetime64"):
        tg.tensor(np.array(["2026-01-01"], "datetime64[D]"))


def test_unknown_operand_falls_to_its_own_operator():
    class Other:
        def __radd__(self, x):
            return "taken"

    assert tg.tensor(V) + Other() == "taken"
    with pytest.raises(TypeError):
        tg.tensor(V) + object()


def test_conversions():
    x = tg.tensor(V)
    with pytest.raises(RuntimeError, match="3 elements"):
        float(x)
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError, match="0-d"):
        len(tg.tensor(1.0))
    with pytest.raises(TypeError):
        iter(tg.tensor(1.0))
    with pytest.raises(TypeError, match="integer"):
        [1, 2][tg.tensor(1.0)]
