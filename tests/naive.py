"""A reference for reverse-mode differentiation that is too simple to be wrong.

Nodes hold NumPy arrays and, per parent, a function from the node's cotangent to the parent's.  A
``Storage`` is memory: it names the node that is its present value.  A ``Var`` is a view of a storage:
reading it follows the view's path from the present value, writing it rebuilds the storage's value.
"""

import itertools

import numpy as np

_numbers = itertools.count()


class Node:
    """A value, where it came from, and what it saved: ``saved`` pairs storages with versions."""

    def __init__(self, value, parents=(), saved=()):
        self.value = np.asarray(value, dtype=np.float64)
        self.parents = [(p, vjp) for p, vjp in parents if p.requires_grad]
        self.requires_grad = bool(self.parents)
        self.saved = saved if self.parents else ()
        self.number = next(_numbers)
        self.grad = None

    @property
    def stale(self):
        return any(storage.version != version for storage, version in self.saved)


def leaf(value):
    node = Node(value)
    node.requires_grad = True
    return node


def backward(root, g):
    """Add to ``grad`` of the leaves; say whether a saved value had been overwritten on the way."""
    cotangents, pending, stale = {root: np.asarray(g)}, {root}, False
    while pending:
        node = max(pending, key=lambda n: n.number)
        pending.remove(node)
        stale |= node.stale
        g = cotangents.pop(node)
        if node.requires_grad and not node.parents:
            node.grad = g if node.grad is None else node.grad + g
        for parent, vjp in node.parents:
            part = unbroadcast(vjp(g), parent.value.shape)
            cotangents[parent] = cotangents[parent] + part if parent in cotangents else part
            pending.add(parent)
    return stale


def unbroadcast(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    ones = tuple(k for k, n in enumerate(shape) if n == 1 and g.shape[k] != 1)
    return g.sum(axis=ones, keepdims=True)


def places(node, step):
    """Flat positions in ``node`` that a view shows; ``step`` is a NumPy function of arrays."""
    return step(np.arange(node.value.size).reshape(node.value.shape))


def index(node, step):
    at = places(node, step)

    def vjp(g):
        out = np.zeros(node.value.size)
        np.add.at(out, at, g)
        return out.reshape(node.value.shape)

    return Node(node.value.ravel()[at], [(node, vjp)])


def put(node, step, new):
    at = places(node, step)
    value, kept = node.value.copy().ravel(), np.ones(node.value.size)
    value[at], kept[at] = np.broadcast_to(new.value, at.shape), 0.0
    shape = node.value.shape
    return Node(
        value.reshape(shape), [(node, lambda g: g * kept.reshape(shape)), (new, lambda g: g.ravel()[at])]
    )


class Storage:
    def __init__(self, node):
        self.node, self.version = node, 0


class Var:
    """A view of a storage."""

    def __init__(self, node=None, storage=None, path=()):
        self.storage, self.path = storage or Storage(node), path

    def read(self):
        node = self.storage.node
        for step in self.path:
            node = index(node, step)
        return node

    def write(self, new):
        def rebuilt(node, path):
            if not path:
                return Node(np.broadcast_to(new.value, node.value.shape), [(new, lambda g: g)])
            return put(node, path[0], rebuilt(index(node, path[0]), path[1:]))

        self.storage.node = rebuilt(self.storage.node, self.path)
        self.storage.version += 1

    def view(self, step):
        return Var(storage=self.storage, path=(*self.path, step))

    def mark(self):
        return self.storage, self.storage.version


def unary(f, derivative):
    """``derivative(x, out)``; assumes that both operand and result are saved."""

    def apply(x):
        node = x.read()
        value = f(node.value)
        out = Var(Node(value, [(node, lambda g: g * derivative(node.value, value))]))
        out.storage.node.saved = (x.mark(), out.mark())
        return out

    return apply


def binary(f, dx, dy, saves=True):
    def apply(x, y):
        a, b = x.read(), y.read()
        parents = [(a, lambda g: g * dx(a.value, b.value)), (b, lambda g: g * dy(a.value, b.value))]
        return Var(Node(f(a.value, b.value), parents, (x.mark(), y.mark()) if saves else ()))

    return apply


def reduction(axis, keepdims):
    def apply(x):
        node = x.read()

        def vjp(g):
            full = g if keepdims or axis is None else np.expand_dims(g, axis)
            return np.broadcast_to(full, node.value.shape)

        return Var(Node(node.value.sum(axis=axis, keepdims=keepdims), [(node, vjp)]))

    return apply


UNARY = {
    "sin": unary(np.sin, lambda x, out: np.cos(x)),
    "tanh": unary(np.tanh, lambda x, out: 1 - out * out),
    "exp": unary(np.exp, lambda x, out: out),
    "negative": unary(np.negative, lambda x, out: -np.ones_like(x)),
    "square": unary(np.square, lambda x, out: 2 * x),
}
BINARY = {
    "add": binary(np.add, lambda x, y: np.ones(np.broadcast(x, y).shape), lambda x, y: 1.0, saves=False),
    "subtract": binary(np.subtract, lambda x, y: 1.0, lambda x, y: -1.0, saves=False),
    "multiply": binary(np.multiply, lambda x, y: y, lambda x, y: x),
    "divide": binary(np.divide, lambda x, y: 1 / y, lambda x, y: -x / y**2),
    "maximum": binary(
        np.maximum, lambda x, y: (x > y) + 0.5 * (x == y), lambda x, y: (y > x) + 0.5 * (x == y)
    ),
}
