"""Random programs against the naive reference: values at random moments, gradients at the end."""

from typing import ClassVar

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import tapegrad as tg

LIMIT = 1e3  # results beyond it are dropped: they would only measure rounding
pick = st.integers(0, 1 << 16)

VIEWS = {
    "transpose": (lambda x: x.T, lambda a: a.T),
    "first": (lambda x: x[0], lambda a: a[0]),
    "last": (lambda x: x[-1:], lambda a: a[-1:]),
    "reversed": (lambda x: x[::-1], lambda a: a[::-1]),
    "every other": (lambda x: x[..., ::2], lambda a: a[..., ::2]),
    "new axis": (lambda x: x[:, None], lambda a: a[:, None]),
    "flat": (lambda x: x.reshape(-1), lambda a: a.reshape(-1)),
}


class Programs(RuleBasedStateMachine):
    """Grows a pool of pairs (tensor, reference) by random operations."""

    shapes: ClassVar = [(), (3,), (2, 3), (2, 2, 3), (1,), (3, 2), (2, 1), (1, 3)]

    def __init__(self):
        super().__init__()
        self.leaves: list = []
        self.pool: list = []

    @initialize(seed=st.integers(0, 10_000))
    def start(self, seed):
        self.rng = np.random.default_rng(seed)
        for shape in self.shapes[:4]:
            values = self.rng.uniform(-1.5, 1.5, shape)
            self.leaves.append((tg.tensor(values, requires_grad=True), naive.Var(naive.leaf(values))))
        self.constant(0)

    def teardown(self):
        for x, ref in [*self.leaves, *self.pool]:
            self.compare_value(x, ref)

    def choose(self, k):
        both = self.leaves + 2 * self.pool  # results are more interesting than leaves
        return both[k % len(both)]

    def add(self, x, ref):
        value = ref.read().value
        if value.size and np.abs(value).max() > LIMIT:
            return
        assert x.shape == value.shape
        assert x.requires_grad == ref.read().requires_grad
        if len(self.pool) > 12:
            self.pool.pop(self.rng.integers(0, len(self.pool)))
        self.pool.append((x, ref))

    @staticmethod
    def compare_value(x, ref):
        np.testing.assert_allclose(x.detach().numpy(), ref.read().value, rtol=1e-9, atol=1e-9)

    def compare_grads(self):
        for x, ref in self.leaves:
            node = ref.storage.node
            if node.grad is None:
                assert x.grad is None or not np.any(x.grad.numpy())
            else:
                np.testing.assert_allclose(x.grad.numpy(), node.grad, rtol=1e-8, atol=1e-8)

    # --- making values ----------------------------------------------------------------------------

    @rule(k=pick)
    def constant(self, k):
        values = self.rng.uniform(-1.5, 1.5, self.shapes[k % len(self.shapes)])
        self.pool.append((tg.tensor(values), naive.Var(naive.Node(values))))

    @rule(k=pick, name=st.sampled_from(sorted(naive.UNARY)))
    def unary(self, k, name):
        x, ref = self.choose(k)
        if name == "exp" and np.abs(ref.read().value).max(initial=0) > 5:
            return
        self.add(getattr(tg, name)(x), naive.UNARY[name](ref))

    @rule(k=pick, j=pick, name=st.sampled_from(["add", "subtract", "multiply", "maximum"]))
    def binary(self, k, j, name):
        (x, x_ref), (y, y_ref) = self.choose(k), self.choose(j)
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            with pytest.raises(ValueError, match=name):
                getattr(tg, name)(x, y)
            return
        self.add(getattr(tg, name)(x, y), naive.BINARY[name](x_ref, y_ref))

    @rule(k=pick, constant=st.floats(-2, 2).map(lambda v: round(v, 3)), reflected=st.booleans())
    def with_constant(self, k, constant, reflected):
        x, ref = self.choose(k)
        number = naive.Var(naive.Node(constant))
        if reflected:
            self.add(constant - x, naive.BINARY["subtract"](number, ref))
        else:
            self.add(x * constant, naive.BINARY["multiply"](ref, number))

    @rule(k=pick, axis=st.sampled_from([None, 0, -1]), keepdims=st.booleans())
    def reduce(self, k, axis, keepdims):
        x, ref = self.choose(k)
        if axis is not None and x.ndim == 0:
            return
        self.add(tg.sum(x, axis=axis, keepdims=keepdims), naive.reduction(axis, keepdims)(ref))

    @rule(k=pick)
    def gather(self, k):
        x, ref = self.choose(k)
        if x.ndim == 0:
            return
        rows = self.rng.integers(-x.shape[0], x.shape[0], 4)
        self.add(x[rows], naive.Var(naive.index(ref.read(), lambda a: a[rows])))

    @rule(k=pick)
    def island(self, k):
        x, ref = self.choose(k)
        with tg.no_grad():
            y = tg.sin(x) * 0.5
            assert not y.requires_grad
        self.add(y, naive.Var(naive.Node(np.sin(ref.read().value) * 0.5)))

    @rule(k=pick)
    def cut(self, k):
        x, ref = self.choose(k)
        self.add(x.detach().clone(), naive.Var(naive.Node(ref.read().value)))

    # --- sharing memory ---------------------------------------------------------------------------

    @rule(k=pick, name=st.sampled_from(sorted(VIEWS)))
    def view(self, k, name):
        x, ref = self.choose(k)
        if x.ndim == 0 or (name == "new axis" and x.ndim > 2):
            return
        ours, theirs = VIEWS[name]
        if name == "flat" and ref.path:
            return  # a reshape of a transposed view is a copy in NumPy: keep to what is a view in both
        self.add(ours(x), ref.view(theirs))

    def writable(self, k):
        """A member of the pool that may be changed in place."""
        if not self.pool:
            return None
        x, ref = self.pool[k % len(self.pool)]
        node = ref.storage.node
        return None if node.requires_grad and not node.parents else (x, ref)

    @rule(k=pick, j=pick, name=st.sampled_from(["add", "multiply"]))
    def in_place(self, k, j, name):
        found = self.writable(k)
        if found is None:
            return
        (x, ref), (y, y_ref) = found, self.choose(j)
        if not self.broadcasts_into(y, x):
            return
        new = naive.BINARY[name](ref, y_ref)
        if np.abs(new.read().value).max(initial=0) > LIMIT:
            return
        if name == "add":
            x += y
        else:
            x.mul_(y)
        if y_ref.storage is not ref.storage:
            # the product saved the value that it overwrites itself, before it wrote: not stale
            new.storage.node.saved = tuple(
                (s, v + 1 if s is ref.storage else v) for s, v in new.storage.node.saved
            )
        ref.write(new.read())

    @staticmethod
    def broadcasts_into(y, x):
        try:
            return np.broadcast_shapes(x.shape, y.shape) == x.shape
        except ValueError:
            return False

    @rule(k=pick, j=pick)
    def assign(self, k, j):
        found = self.writable(k)
        if found is None or found[0].ndim == 0:
            return
        (x, ref), (y, y_ref) = found, self.choose(j)
        if not self.broadcasts_into(y, x[0]) or y_ref.storage is ref.storage:
            return  # (PyTorch refuses to copy between overlapping memory)
        x[0] = y
        ref.view(lambda a: a[0]).write(y_ref.read())

    # --- looking ----------------------------------------------------------------------------------

    @rule(k=pick)
    def look(self, k):
        self.compare_value(*self.choose(k))

    @rule(k=pick)
    def backward_needs_history(self, k):
        x, ref = self.choose(k)
        if not ref.read().requires_grad:
            with pytest.raises(RuntimeError, match="does not require grad"):
                x.backward(tg.tensor(np.ones(x.shape)))

    @rule(ks=st.lists(pick, min_size=1, max_size=3), retain=st.booleans(), seed=st.integers(0, 100))
    def backward(self, ks, retain, seed):
        recorded = [(x, ref) for x, ref in self.pool if ref.read().requires_grad]
        if not recorded:
            return
        roots = [recorded[k % len(recorded)] for k in ks]
        rng = np.random.default_rng(seed)
        weights = [rng.uniform(-1, 1, x.shape) for x, _ in roots]
        stale = False
        for (_, ref), g in zip(roots, weights, strict=True):
            stale |= naive.backward(ref.read(), g)
        try:
            tg.autograd.backward([x for x, _ in roots], list(map(tg.tensor, weights)), retain_graph=retain)
        except RuntimeError as error:
            assert stale, f"nothing was overwritten, and yet: {error}"
            assert "inplace operation" in str(error)
            self.forget()
            return
        if not stale:
            self.compare_grads()
        if stale or not retain:
            self.forget()

    def forget(self):
        """Start over with the leaves: what was recorded has been used up."""
        for x, ref in self.leaves:
            x.grad = None
            ref.storage.node.grad = None
        self.pool = [(x, ref) for x, ref in self.pool if not ref.storage.node.requires_grad]

    @precondition(lambda self: self.leaves)
    @rule(k=pick)
    def step(self, k):
        """An optimizer's update of a leaf, between two programs."""
        self.forget()
        x, ref = self.leaves[k % len(self.leaves)]
        with tg.no_grad():
            x.sub_(0.25 * tg.sin(x))
        value = ref.storage.node.value
        ref.storage.node = naive.leaf(value - 0.25 * np.sin(value))
        ref.storage.version += 1

    @invariant()
    def shapes_agree(self):
        for x, ref in self.pool[-3:]:
            assert x.requires_grad == ref.read().requires_grad


class LargePrograms(Programs):
    """The same with arrays of several tiles, and with some that have buffers of their own."""

    shapes: ClassVar = [(700,), (2, 700), (), (9000,), (1,), (2, 1), (700, 2), (1, 700), (1, 9000)]


TestPrograms = Programs.TestCase
TestLargePrograms = LargePrograms.TestCase
TestPrograms.settings = settings(max_examples=5 * settings.default.max_examples)
TestLargePrograms.settings = settings(max_examples=3 * settings.default.max_examples)
