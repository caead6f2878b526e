"""Traces of functions, without recording's guards and captures: for tests of what becomes of a trace."""

from __future__ import annotations

import numpy as np

import tapegrad as tg
from tapegrad.engine.templates import _TracingTape, aside, placeholder
from tapegrad.spec import intern_spec
from tapegrad.tape import OP_MASK
from tapegrad.tensor import LEAF, _record_detach
from tapegrad.trace import Trace


def trace_of(f, *arrays):
    """Record ``f`` at placeholders; its results are tensors or a tuple of them."""
    tape = _TracingTape()
    tape.limit, tape.pending_bytes = 1 << 60, -(1 << 62)
    with aside(tape):
        inputs = [placeholder(tape, intern_spec(a.shape, a.dtype)) for a in arrays]
        results = f(*inputs)
        results = results if isinstance(results, (tuple, list)) else (results,)
        outputs = [r._slot if r._tape is tape else tape.bind(r) for r in results]
        n = tape.seal()
    code = tape.code[:n, :6].copy()
    code[:, 0] &= OP_MASK
    return Trace(
        code,
        np.array(tape.consts or [0.0]),
        list(tape.signatures),
        list(range(len(arrays))),
        outputs,
        constants={s: tape.keep[s] for s in range(n) if s in tape.keep},
    )


def leaf(x):
    """A fresh variable with the value of ``x``."""
    out = _record_detach(x, True)
    out._rg = LEAF
    return out


def with_gradient(f, order=1):
    """``f`` (to a scalar) with its gradient, and with the gradient of that one's sum of squares."""

    def g(*xs):
        xs = [leaf(x) for x in xs]
        value = f(*xs)
        out = [value]
        for _ in range(order):
            if not value.requires_grad:
                break
            grads = tg.autograd.grad(value, xs, create_graph=True, materialize_grads=True)
            out += grads
            value = sum([(d * d).sum() for d in grads], tg.tensor(0.0))
        return tuple(out)

    return g


# --- random programs ------------------------------------------------------------------------------

UNARY = (
    lambda a: tg.sin(a), lambda a: tg.tanh(a), lambda a: tg.exp(-a * a), lambda a: tg.sqrt(a * a + 1.0),
    lambda a: -a, lambda a: tg.abs(a) + 0.5, lambda a: tg.log(a * a + 0.5),
    lambda a: tg.where(a > 0.0, a, 0.3 * a),
    lambda a: 2.0 * a, lambda a: 1.0 / (a * a + 1.0), lambda a: a.sum(), lambda a: a.reshape(-1),
    lambda a: a.astype("float32").astype("float64"), lambda a: tg.stack([a, -a]).sum(axis=0) + a,
    lambda a: tg.cumulative_sum(a.reshape(-1)), lambda a: a.reshape(-1)[::-1], lambda a: a.reshape(-1)[0],
    lambda a: tg.max(a), lambda a: a.T if a.ndim > 1 else a, lambda a: a**2,
    lambda a: tg.concat([a.reshape(-1), tg.ones(2)]),
)  # fmt: skip
BINARY = (
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (b * b + 1.0),
    lambda a, b: tg.maximum(a, b), lambda a, b: tg.minimum(a, b), lambda a, b: a * b + a,
    lambda a, b: a - b * a, lambda a, b: tg.where(a < b, a, b), lambda a, b: a + 0.25 * b.sum(),
)  # fmt: skip


def random_program(seed, steps=12):
    """A function of a (6,) and a (2, 3) array to a scalar, and the points to try it at."""
    rng = np.random.default_rng(seed)
    plan = [
        (rng.integers(3), rng.integers(1 << 30), rng.integers(1 << 30), rng.integers(1 << 30))
        for _ in range(steps)
    ]

    def f(x, y):
        values = [x, y, x[2], y[1], x[1:4]]
        for kind, which, i, j in plan:
            a, b = values[i % len(values)], values[j % len(values)]
            if kind == 0:
                values.append(UNARY[which % len(UNARY)](a))
                continue
            try:
                np.broadcast_shapes(a.shape, b.shape)
            except ValueError:
                b = b.sum()
            values.append(BINARY[which % len(BINARY)](a, b))
        total = values[-1].sum()
        for v in values[-4:-1]:
            total = total + 0.5 * (v * v).sum()
        buffer = tg.zeros(4)
        for k in range(3):
            buffer[k] = x[k] * total
        return total + buffer.sum()

    points = [(rng.normal(size=6), rng.normal(size=(2, 3))) for _ in range(3)]
    return f, points
