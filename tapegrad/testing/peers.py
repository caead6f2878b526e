"""Other libraries' counterparts of tapegrad's functions, looked up by name where a library is installed.

A counterpart is a function of the same name, or one of the aliases, in one of the library's namespaces; where
a library spells it otherwise, or means something else by the name, `SPELLINGS` says so.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

__all__ = ["PEERS", "Found", "ask", "function", "installed"]


class Peer(NamedTuple):
    """A library and where its functions are: for those of tapegrad's namespaces, and anywhere."""

    title: str
    package: str
    homes: tuple[str, ...]  # below the package, in the order of search
    inner: dict[str, tuple[str, ...]]  # searched first for "linalg.solve" and its like


PEERS = {
    "torch": Peer(
        "PyTorch",
        "torch",
        ("", "special", "nn.functional", "linalg", "Tensor"),
        {"linalg": ("linalg",), "fft": ("fft",), "special": ("special",), "stats": ()},
    ),
    "jax": Peer(
        "JAX",
        "jax",
        ("numpy", "scipy.special", "nn", "numpy.linalg", "scipy.linalg", "lax"),
        {
            "linalg": ("numpy.linalg", "scipy.linalg"),
            "fft": ("numpy.fft", "scipy.fft"),
            "special": ("scipy.special",),
            "stats": ("scipy.stats",),
        },
    ),
    "autograd": Peer(
        "autograd",
        "autograd",
        ("numpy", "scipy.special", "scipy.signal", "numpy.linalg", "scipy.linalg"),
        {
            "linalg": ("numpy.linalg", "scipy.linalg"),
            "fft": ("numpy.fft",),
            "special": ("scipy.special",),
            "stats": ("scipy.stats",),
        },
    ),
    "mygrad": Peer(
        "MyGrad",
        "mygrad",
        ("", "nnet.activations", "nnet", "Tensor"),
        {"linalg": ("linalg",), "fft": (), "special": (), "stats": ()},
    ),
}

# tapegrad's and PyTorch's distributions; these have ``log_prob``, and the first ones ``cdf``.
DISTRIBUTIONS = {
    "norm": "Normal", "expon": "Exponential", "lognorm": "LogNormal", "cauchy": "Cauchy",
    "laplace": "Laplace", "weibull_min": "Weibull", "uniform": "Uniform", "halfnorm": "HalfNormal",
    "gamma": "Gamma", "gumbel_r": "Gumbel", "t": "StudentT", "beta": "Beta",
    "invgamma": "InverseGamma", "poisson": "Poisson", "binom": "Binomial",
    "nbinom": "NegativeBinomial", "bernoulli": "Bernoulli", "geom": "Geometric",
    "multivariate_normal": "MultivariateNormal", "dirichlet": "Dirichlet",
    "multinomial": "Multinomial", "categorical": "Categorical",
}  # fmt: skip

# What is spelt otherwise, below the package; "" where a function of the name means something else.
SPELLINGS: dict[str, dict[str, str]] = {
    "torch": {
        "astype": "Tensor.to",
        "embedding": "nn.functional.embedding",
        "equal": "eq",
        "fill_diagonal": "Tensor.fill_diagonal_",
        "max": "amax",
        "min": "amin",
        "put_along_axis": "Tensor.scatter_",
        "kl_div": "",
        "resize": "",
        "split": "tensor_split",
        "tile": "tile",
        "unique_all": "unique",
        "unique_counts": "unique",
        "unique_inverse": "unique",
        "unique_values": "unique",
        **{
            f"stats.{ours}.{density}": f"distributions.{theirs}.log_prob"
            for ours, theirs in DISTRIBUTIONS.items()
            for density in ("logpdf", "logpmf")
        },
        **{
            f"stats.{ours}.cdf": f"distributions.{theirs}.cdf"
            for ours, theirs in list(DISTRIBUTIONS.items())[:10]
        },
    },
    "jax": {
        "avg_pool1d": "lax.reduce_window",
        "avg_pool2d": "lax.reduce_window",
        "conv1d": "lax.conv_general_dilated",
        "conv2d": "lax.conv_general_dilated",
        "conv_transpose1d": "lax.conv_transpose",
        "conv_transpose2d": "lax.conv_transpose",
        "gather": "",
        "polar": "",
        "max_pool1d": "lax.reduce_window",
        "max_pool2d": "lax.reduce_window",
        "scatter_add": "",
        "tensor": "numpy.array",
        "topk": "lax.top_k",
    },
    "autograd": {"convolve": "scipy.signal.convolve", "tensor": "numpy.array"},
    "mygrad": {
        "conv1d": "nnet.conv_nd",
        "conv2d": "nnet.conv_nd",
        "log_softmax": "nnet.logsoftmax",
        "max_pool1d": "nnet.max_pool",
        "max_pool2d": "nnet.max_pool",
    },
}


class Found(NamedTuple):
    """A library's counterpart of a function."""

    path: str  # below the package: "numpy.sin"
    values_only: bool = False  # the library computes it, but does not differentiate it


@functools.cache
def installed(peer: str) -> bool:
    """Whether the library is there (it is not imported)."""
    return importlib.util.find_spec(PEERS[peer].package) is not None


def ask(peer: str, name: str, aliases: Sequence[str] = ()) -> Found | None:
    """Look for a library's counterpart of a function.

    Parameters
    ----------
    peer : {"torch", "jax", "autograd", "mygrad"}
        An installed library.
    name : str
        tapegrad's name, with the namespace inside (``"linalg.solve"``).
    aliases : sequence of str
        Its further names.

    Returns
    -------
    Found or None
    """
    spelling = SPELLINGS[peer].get(name)
    if spelling == "":
        return None
    inner, bare = name.split(".", 1) if "." in name else ("", name)
    library = PEERS[peer]
    homes = (*library.inner.get(inner, ()), *library.homes) if inner != "stats" else library.inner[inner]
    paths = [f"{home}.{n}".lstrip(".") for home in homes for n in (bare, *aliases)]
    answers = []
    for path in [spelling] if spelling else paths:
        found = function(peer, path)
        if found is not None:
            answers.append(Found(path, peer == "autograd" and not _autograd_differentiates(found)))
    return min(answers, key=lambda answer: answer.values_only, default=None)  # the first with derivatives


@functools.cache
def function(peer: str, path: str) -> Callable | None:
    """A library's function by its path below the package, if there is one."""
    found: Any = importlib.import_module(PEERS[peer].package)
    for k, part in enumerate(parts := path.split(".")):
        try:
            found = getattr(found, part)
        except AttributeError:
            if k == len(parts) - 1:
                return None
            try:
                found = importlib.import_module(".".join((PEERS[peer].package, *parts[: k + 1])))
            except ImportError:
                return None
    return found if callable(found) else None


def _autograd_differentiates(found: Callable) -> bool:
    """Whether autograd has a rule for a function of NumPy's that it wraps, or composes it of others."""
    core = importlib.import_module("autograd.core")
    constant = importlib.import_module("autograd.tracer").notrace_primitives[core.VJPNode]
    return not hasattr(found, "fun") or found in core.primitive_vjps or found in constant
