"""Value and gradient of a small convolutional network on images of 28 x 28, a batch of 32.

Two convolutions (3 x 3, 8 and 16 channels) with ReLU, a maximum over windows of 2 x 2, a dense layer, softmax
cross-entropy; in float64 and in float32.  Beside it the second convolution alone.
"""

import sys

import numpy as np

from benchmarks import arrays
from benchmarks.harness import main

BATCH, SIZE, CHANNELS, CLASSES = 32, 28, (1, 8, 16), 10
TARGET = 2.0  # of PyTorch's time


def loss(xp, w1, b1, w2, b2, w3, b3, x, labels):
    h = xp.relu(xp.conv2d(x, w1, b1))
    h = xp.relu(xp.conv2d(h, w2, b2))
    h = xp.max_pool2d(h, 2)
    z = h.reshape(h.shape[0], -1) @ w3 + b3
    return (xp.logsumexp(z, 1) - (z * labels).sum(1)).mean()


def with_torch(xp, w1, b1, w2, b2, w3, b3, x, labels):
    """The same with the fused piece that a PyTorch user would take."""
    from torch.nn.functional import cross_entropy

    h = xp.relu(xp.conv2d(x, w1, b1))
    h = xp.relu(xp.conv2d(h, w2, b2))
    h = xp.max_pool2d(h, 2)
    return cross_entropy(xp.addmm(b3, h.flatten(1), w3), labels)


def with_jax(xp, w1, b1, w2, b2, w3, b3, x, labels):
    from jax import lax, nn
    from jax import numpy as jnp

    h = nn.relu(lax.conv(x, w1, (1, 1), "VALID") + b1[:, None, None])
    h = nn.relu(lax.conv(h, w2, (1, 1), "VALID") + b2[:, None, None])
    h = lax.reduce_window(h, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    z = h.reshape(h.shape[0], -1) @ w3 + b3
    return (nn.logsumexp(z, 1) - (z * labels).sum(1)).mean()


def layer(xp, x, w, b, g):
    return (xp.conv2d(x, w, b) * g).sum()


def layer_with_jax(xp, x, w, b, g):
    from jax import lax

    return ((lax.conv(x, w, (1, 1), "VALID") + b[:, None, None]) * g).sum()


def inputs(batch, size, channels, classes, dtype):
    rng = np.random.default_rng(0)
    one, two, three = channels
    left = (size - 4) // 2
    parameters = [
        rng.normal(size=(two, one, 3, 3)) / 3.0,
        0.1 * rng.normal(size=two),
        rng.normal(size=(three, two, 3, 3)) / np.sqrt(9 * two),
        0.1 * rng.normal(size=three),
        rng.normal(size=(three * left * left, classes)) / np.sqrt(three * left * left),
        0.1 * rng.normal(size=classes),
    ]
    x = rng.normal(size=(batch, one, size, size))
    labels = np.eye(classes)[rng.integers(0, classes, batch)]
    return [p.astype(dtype) for p in parameters], [x.astype(dtype), labels.astype(dtype)]


def windows(x):
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))


def convolved(x, w, b):
    return np.einsum("ncijkl,fckl->nfij", windows(x), w, optimize=True) + b[:, None, None]


def convolved_back(x, w, g):
    """Cotangents of the image, the weights and the bias."""
    wide = np.pad(g, [(0, 0), (0, 0), (2, 2), (2, 2)])
    gx = np.einsum("nfijkl,fckl->ncij", windows(wide), w[:, :, ::-1, ::-1], optimize=True)
    return gx, np.einsum("ncijkl,nfij->fckl", windows(x), g, optimize=True), g.sum(axis=(0, 2, 3))


def reference(parameters, fixed):
    """Backpropagation by hand, in float64."""
    w1, b1, w2, b2, w3, b3 = [p.astype(np.float64) for p in parameters]
    x, labels = [a.astype(np.float64) for a in fixed]
    h1 = np.maximum(convolved(x, w1, b1), 0)
    h2 = np.maximum(convolved(h1, w2, b2), 0)
    n, c, rows, columns = h2.shape
    blocks = h2.reshape(n, c, rows // 2, 2, columns // 2, 2)
    top = blocks.max(axis=(3, 5), keepdims=True)
    flat = top.reshape(n, -1)
    z = flat @ w3 + b3
    m = z.max(axis=1, keepdims=True)
    log_total = m + np.log(np.exp(z - m).sum(axis=1, keepdims=True))
    g3 = (np.exp(z - log_total) - labels) / n
    gh = (g3 @ w3.T).reshape(top.shape) * (blocks == top) * (blocks > 0)
    gh, gw2, gb2 = convolved_back(h1, w2, gh.reshape(h2.shape))
    _, gw1, gb1 = convolved_back(x, w1, gh * (h1 > 0))
    grads = gw1, gb1, gw2, gb2, flat.T @ g3, g3.sum(0)
    return np.mean(log_total[:, 0] - (z * labels).sum(axis=1)), grads


def run(session):
    sizes = session.pick((BATCH, SIZE, CHANNELS, CLASSES), (2, 8, (1, 2, 3), 4))
    for dtype, rtol in (("float64", 1e-9), ("float32", 2e-4)):
        parameters, fixed = inputs(*sizes, dtype)
        arrays.contest(
            session,
            f"{'-'.join(map(str, sizes[2]))} channels, batch {sizes[0]}, {dtype}",
            loss,
            parameters,
            fixed,
            reference(parameters, fixed),
            {"torch": TARGET},
            {"torch": with_torch, "jax": with_jax},
            rtol,
        )
        rng = np.random.default_rng(1)
        w, b = parameters[2:4]
        x = rng.normal(size=(sizes[0], sizes[2][1], sizes[1] - 2, sizes[1] - 2)).astype(dtype)
        g = rng.normal(size=(sizes[0], sizes[2][2], sizes[1] - 4, sizes[1] - 4)).astype(dtype)
        x64, w64, b64, g64 = (a.astype(np.float64) for a in (x, w, b, g))
        y = convolved(x64, w64, b64)
        arrays.contest(
            session,
            f"one convolution, {sizes[2][1]} to {sizes[2][2]} channels, {dtype}",
            layer,
            [x, w, b],
            [g],
            ((y * g64).sum(), convolved_back(x64, w64, g64)),
            {"torch": TARGET},
            {"jax": layer_with_jax},
            rtol,
        )


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["cnn"]))
