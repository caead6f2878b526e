"""Value and gradient of a network of three dense layers: ReLU twice, softmax cross-entropy, batch of 256.

784 inputs, 256 and 128 hidden units, 10 classes; in float64 and in float32.  Matrix products are most of it.
"""

import itertools
import sys

import numpy as np

from benchmarks import arrays
from benchmarks.harness import main

LAYERS, BATCH = (784, 256, 128, 10), 256
TARGET = 1.05  # of PyTorch's time


def loss(xp, w1, b1, w2, b2, w3, b3, x, labels):
    h = xp.relu(x @ w1 + b1)
    h = xp.relu(h @ w2 + b2)
    z = h @ w3 + b3
    return (xp.logsumexp(z, 1) - (z * labels).sum(1)).mean()


def with_torch(xp, w1, b1, w2, b2, w3, b3, x, labels):
    """The same with the fused pieces that a PyTorch user would take."""
    from torch.nn.functional import cross_entropy

    h = xp.relu(xp.addmm(b1, x, w1))
    h = xp.relu(xp.addmm(b2, h, w2))
    return cross_entropy(xp.addmm(b3, h, w3), labels)


def inputs(layers, batch, dtype):
    rng = np.random.default_rng(0)
    parameters = []
    for m, n in itertools.pairwise(layers):
        parameters += [rng.normal(size=(m, n)) * np.sqrt(2 / m), 0.1 * rng.normal(size=n)]
    x = rng.normal(size=(batch, layers[0]))
    labels = np.eye(layers[-1])[rng.integers(0, layers[-1], batch)]
    return [p.astype(dtype) for p in parameters], [x.astype(dtype), labels.astype(dtype)]


def reference(parameters, fixed):
    """Backpropagation by hand, in float64."""
    w1, b1, w2, b2, w3, b3 = [p.astype(np.float64) for p in parameters]
    x, labels = [a.astype(np.float64) for a in fixed]
    h1 = np.maximum(x @ w1 + b1, 0)
    h2 = np.maximum(h1 @ w2 + b2, 0)
    z = h2 @ w3 + b3
    m = z.max(axis=1, keepdims=True)
    log_total = m + np.log(np.exp(z - m).sum(axis=1, keepdims=True))
    g3 = (np.exp(z - log_total) - labels) / len(x)
    g2 = (g3 @ w3.T) * (h2 > 0)
    g1 = (g2 @ w2.T) * (h1 > 0)
    grads = x.T @ g1, g1.sum(0), h1.T @ g2, g2.sum(0), h2.T @ g3, g3.sum(0)
    return np.mean(log_total[:, 0] - (z * labels).sum(axis=1)), grads


def run(session):
    layers, batch = session.pick((LAYERS, BATCH), ((20, 12, 8, 5), 16))
    for dtype, rtol in (("float64", 1e-9), ("float32", 2e-4)):
        parameters, fixed = inputs(layers, batch, dtype)
        arrays.contest(
            session,
            f"{'-'.join(map(str, layers))}, batch {batch}, {dtype}",
            loss,
            parameters,
            fixed,
            reference(parameters, fixed),
            {"torch": TARGET},
            {"torch": with_torch},
            rtol,
        )


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["mlp"]))
