"""Values and gradients of every row and function beside PyTorch's, and JAX's where PyTorch has none.

Generated from the table: counterparts are found as for the page of the reference (``testing.peers``), and
called with the arguments of the samples.  What a library does not take (another signature, no derivative) is
left to the next one.  Where they differ, `EXCEPTIONS` gives the reason.
"""

import importlib
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops.table import PUBLIC, Kind, rows
from tapegrad.testing import draw_sample, row_function
from tapegrad.testing.peers import ask, function, installed
from tapegrad.testing.table import draw_row

LIBRARIES = [name for name in ("torch", "jax") if installed(name)]
pytestmark = pytest.mark.skipif(not LIBRARIES, reason="neither PyTorch nor JAX is installed")

TOLERANCE = 1e-10
FEW = 3
SHAPES = ((2, 1), (1, 3), (2, 3))
RENAMED = {  # PyTorch's names of arguments
    "axis": "dim", "axis1": "dim1", "axis2": "dim2", "k": "diagonal", "keepdims": "keepdim",
    "ddof": "correction", "method": "interpolation",
}  # fmt: skip

DISTINCT = ("unique", "unique_all", "unique_counts", "unique_inverse", "unique_values", "union1d",
            "intersect1d", "setdiff1d", "setxor1d")  # fmt: skip
# By library: what it computes otherwise, and how.  We are right in each (or, of Cholesky's factor, with JAX).
EXCEPTIONS = {
    "torch": {
        "bincount: complex": "takes the real part of weights",
        "digamma: gradients": "its trigamma is good to 1e-9 (SciPy and mpmath agree with ours)",
        "linalg.cholesky: complex gradients": "are those by entries, not Hermitian",
        "ldexp: gradients": "multiplies by an integer power of an integer, 0 for negative exponents",
        "median": "takes the lower one of two in the middle",
        "nanmedian": "takes the lower one of two in the middle",
        "polygamma": "its trigamma is good to 1e-9",
    },
    "jax": {
        "argpartition": "may order each side as it likes",
        "partition": "may order each side as it likes",
        "sign: complex gradients": "0, as for real operands",
        "stats.multinomial.logpmf: gradients": "by all probabilities; our last is SciPy's, what is left",
        **{f"{name}: gradients": "0, as if values were indices" for name in DISTINCT},
    },
}
# What is comparable of results that leave a choice: of vectors whose signs or phases are free, the squares.
COMPARABLE: dict[str, Callable] = {
    "linalg.eigh": lambda out: (out[0], out[1] * out[1].conj()),
    "linalg.lstsq": lambda out: out[0],
    "linalg.svd": lambda out: squares(*out) if isinstance(out, tuple) else out,
}


def located(shapes, make):
    """A density of PyTorch's, called as SciPy's: shapes, then location and scale."""

    def adapt(f):
        def call(x, *p):
            torch = importlib.import_module("torch")
            loc, scale = [*p[shapes:], *(0.0, torch.tensor(1.0))[len(p) - shapes :]]
            return f(make(torch.distributions, *p[:shapes], scale), x - loc)

        return call

    return adapt


TORCH: dict[str, Callable] = {  # other defaults, or the same arguments in another form
    "linalg.qr": lambda f: lambda a, mode="reduced": f(a, mode)[1] if mode == "r" else f(a, mode),
    "sign": lambda f: importlib.import_module("torch").sgn,
    "flip": lambda f: lambda x, axis=None, **k: f(x, range(x.ndim) if axis is None else as_tuple(axis)),
    "linalg.solve_triangular": lambda f: lambda a, b, lower=False, **k: f(a, b, upper=not lower, **k),
    "logsumexp": lambda f: (
        lambda x, axis=None, **k: f(x, tuple(range(x.ndim)) if axis is None else axis, **k)
    ),
    "std": lambda f: lambda x, **k: f(x, **{"correction": k.pop("ddof", 0), **k}),
    "tensordot": lambda f: lambda x, y, axes=2: f(x, y, dims=axes),
    "transpose": lambda f: lambda x, axes=None: x.permute(*(range(x.ndim)[::-1] if axes is None else axes)),
    "var": lambda f: lambda x, **k: f(x, **{"correction": k.pop("ddof", 0), **k}),
    "stats.categorical.logpmf": lambda f: (
        lambda k, p: f(importlib.import_module("torch").distributions.Categorical(p), k)
    ),
    "stats.halfnorm.cdf": located(0, lambda d, scale: d.HalfNormal(scale)),
    "stats.halfnorm.logpdf": located(0, lambda d, scale: d.HalfNormal(scale)),
    "stats.invgamma.logpdf": located(1, lambda d, a, scale: d.InverseGamma(a, scale)),
    "stats.lognorm.cdf": located(1, lambda d, s, scale: d.LogNormal(scale.log(), s)),
    "stats.lognorm.logpdf": located(1, lambda d, s, scale: d.LogNormal(scale.log(), s)),
    "stats.weibull_min.cdf": located(1, lambda d, c, scale: d.Weibull(scale, c)),
    "stats.weibull_min.logpdf": located(1, lambda d, c, scale: d.Weibull(scale, c)),
}
JAX: dict[str, Callable] = {
    "cummax": lambda f: lambda x, axis=None: f(x.ravel(), 0) if axis is None else f(x, axis % x.ndim),
    "cummin": lambda f: lambda x, axis=None: f(x.ravel(), 0) if axis is None else f(x, axis % x.ndim),
    "gelu": lambda f: lambda x: f(x, approximate=False),
}


# Functions that a library has, but of which nothing can be compared.
UNCOMPARED = {
    "argpartition: values": "the order on each side is free",
    "betainc: gradients": "JAX has none by the first two operands",
    "partition: values": "the order on each side is free",
    **{
        f"stats.beta.{name}: gradients": "JAX has none by the shapes"
        for name in ("cdf", "sf", "logcdf", "logsf")
    },
    "stats.gumbel_r.ppf: gradients": "JAX raises TypeError (float0)",
    "stats.multinomial.logpmf: gradients": "an exception",
    **{f"{name}: gradients": "PyTorch has none, JAX's are 0" for name in DISTINCT},
}


class Incomparable(Exception):
    """The library has no such function, or not of these arguments."""


class Case(NamedTuple):
    """A function, and how to draw its operands (which fit it as they are)."""

    name: str
    aliases: tuple[str, ...]
    function: Callable
    differentiable: bool
    draw: Callable  # (rng, dtype) -> operands, bind


def all_cases():
    for row in rows:
        if row.kind is Kind.ELEMENTWISE and row.public:

            def draw(rng, dtype, row=row):
                dtype = "int64" if row.dtype_rule == "bits" else dtype
                return draw_row(row, SHAPES[: row.arity], rng, dtype), lambda f: f

            yield Case(row.name, row.aliases, row_function(row), any(row.rules), draw)
    for entry in PUBLIC.values():
        for sample in entry.samples:
            if sample.writes:
                continue

            def draw(rng, dtype, sample=sample):
                wanted = dtype if sample.dtype == "float64" else sample.dtype
                operands, _ = draw_sample(sample, rng, wanted)
                if sample.prepare is not None:  # with NumPy, once
                    operands = list(sample.prepare(*operands))
                _, bind = draw_sample(sample._replace(shapes=(), prepare=None), rng, wanted)
                return operands, bind

            smooth = entry.differentiable and sample.differentiable
            yield Case(entry.name, entry.aliases, entry.function, smooth, draw)


FUNCTIONS: dict[str, list[Case]] = {}
for _case in all_cases():
    FUNCTIONS.setdefault(_case.name, []).append(_case)


@pytest.fixture(autouse=True, scope="module")
def double_precision():
    """Both libraries compute in float64 as they are asked to, for these tests only."""
    if "torch" in LIBRARIES:
        torch = importlib.import_module("torch")
        kept = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
    if "jax" in LIBRARIES:
        jax = importlib.import_module("jax")
        wide = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", True)
    yield
    if "torch" in LIBRARIES:
        torch.set_default_dtype(kept)
    if "jax" in LIBRARIES:
        jax.config.update("jax_enable_x64", wide)


# --- calling them ---------------------------------------------------------------------------------


def as_tuple(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def inexact(value):
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def convert(value, make):
    """Arrays, inside of tuples and lists too, as a library's own; float32 constants in double precision."""
    if isinstance(value, np.ndarray):
        return make(value.astype(np.float64) if value.dtype == np.float32 else value)
    if isinstance(value, (tuple, list)) and any(isinstance(v, (np.ndarray, tuple, list)) for v in value):
        return type(value)(convert(v, make) for v in value)
    return value


def to_array(value):
    if hasattr(value, "resolve_conj"):
        return value.numpy(force=True)  # conjugates and zeros are lazy there
    return np.asarray(value.detach() if isinstance(value, tg.Tensor) else value)


def excepted(library, case, what, dtype):
    kind = "complex" if dtype.startswith("complex") else "real"
    keys = (f"{case.name}: {kind} {what}", f"{case.name}: {what}")
    return any(key.strip(": ") in EXCEPTIONS[library] for key in keys)


def counterpart(library, case, dtype):
    """A library's function, made to take what ours takes as far as that is told."""
    if excepted(library, case, "", dtype):
        raise Incomparable("an exception")
    found = ask(library, case.name, case.aliases)
    if found is None:
        raise Incomparable("not there")
    theirs = function(library, found.path)
    adapt = (TORCH if library == "torch" else JAX).get(case.name)
    if adapt is not None:
        theirs = adapt(theirs)
    make = (
        importlib.import_module("torch").tensor
        if library == "torch"
        else importlib.import_module("jax").numpy.asarray
    )

    def call(*args, **options):
        args = [convert(a, make) for a in args]
        options = {k: convert(v, make) for k, v in options.items()}
        try:
            return theirs(*args, **options)
        except (TypeError, RuntimeError):
            if library != "torch":
                raise
        lists = [make(np.asarray(a)) if isinstance(a, list) and isinstance(a[0], int) else a for a in args]
        return theirs(*lists, **{RENAMED.get(k, k): v for k, v in options.items()})

    return call, make


def results(case, out):
    """What is compared of results, as a list."""
    comparable = COMPARABLE.get(case.name)
    return several(comparable(out) if comparable else out)


def several(out):
    return [part for o in out for part in several(o)] if isinstance(out, (tuple, list)) else [out]


def squares(u, s, vh):
    """Of the vectors that belong to singular values; where there are more, of none."""
    return (u * u.conj(), s, vh * vh.conj()) if u.shape[-1] == vh.shape[-2] else (s,)


# --- comparing ------------------------------------------------------------------------------------


def compare_values(case, library, dtype, operands, bind, expected):
    call, make = counterpart(library, case, dtype)
    try:
        got = results(case, bind(call)(*[convert(a, make) for a in operands]))
    except Exception as error:
        raise Incomparable("takes other arguments") from error
    if len(got) < len(expected):
        raise Incomparable("gives fewer results")
    for g, e in zip(got, expected):
        np.testing.assert_allclose(to_array(g), to_array(e), rtol=TOLERANCE, atol=TOLERANCE)
        assert to_array(g).shape == to_array(e).shape
    return call


def our_gradients(case, operands, bind):
    """Gradients by the operands of floating dtype, with the results' numbers and cotangents."""
    rng = np.random.default_rng(1)
    inputs = [tg.tensor(a, requires_grad=inexact(a)) if isinstance(a, np.ndarray) else a for a in operands]
    outs = results(case, bind(case.function)(*inputs))
    live = [k for k, o in enumerate(outs) if isinstance(o, tg.Tensor) and o.requires_grad]
    seeds = [
        rng.normal(size=outs[k].shape)
        + (1j * rng.normal(size=outs[k].shape) if outs[k].dtype.kind == "c" else 0.0)
        for k in live
    ]
    leaves = [x for x in inputs if isinstance(x, tg.Tensor) and x.requires_grad]
    if not live or not leaves:
        return None
    grads = tg.autograd.grad([outs[k] for k in live], leaves, list(map(tg.tensor, seeds)), allow_unused=True)
    return live, seeds, [np.zeros(x.shape) if g is None else g.numpy() for g, x in zip(grads, leaves)]


def torch_gradients(case, call, operands, bind, live, seeds):
    torch = importlib.import_module("torch")
    inputs = [convert(a, torch.tensor) for a in operands]
    leaves = [x.requires_grad_() for x, a in zip(inputs, operands) if inexact(a)]
    outs = results(case, bind(call)(*inputs))
    if not any(outs[k].requires_grad for k in live):
        raise Incomparable("no derivative")
    pairs = [(outs[k], torch.tensor(s)) for k, s in zip(live, seeds) if outs[k].requires_grad]
    grads = torch.autograd.grad([o for o, _ in pairs], leaves, [s for _, s in pairs], allow_unused=True)
    return [np.zeros(tuple(x.shape)) if g is None else to_array(g) for g, x in zip(grads, leaves)]


def jax_gradients(case, call, operands, bind, live, seeds):
    jax = importlib.import_module("jax")
    where = [k for k, a in enumerate(operands) if inexact(a)]

    def chosen(*xs):
        given = list(operands)
        for k, x in zip(where, xs):
            given[k] = x
        outs = results(case, bind(call)(*given))
        return [outs[k] for k in live]

    _, vjp = jax.vjp(chosen, *[jax.numpy.asarray(operands[k]) for k in where])
    # JAX's cotangents are transposes, ours and PyTorch's gradients their conjugates
    return [np.conj(np.asarray(g)) for g in vjp([jax.numpy.asarray(np.conj(s)) for s in seeds])]


def compare(case, dtype, libraries):
    """What could be compared of one case: of ``"values"`` and ``"gradients"``."""
    operands, bind = case.draw(np.random.default_rng(0), dtype)
    inputs = [tg.tensor(a) if isinstance(a, np.ndarray) else a for a in operands]
    try:
        expected = results(case, bind(case.function)(*inputs))
    except (TypeError, ValueError):
        if dtype == "float64":
            raise
        return set()  # complex operands are refused
    ours = our_gradients(case, operands, bind) if case.differentiable else None
    compared = set()
    for library in libraries:
        try:
            call = compare_values(case, library, dtype, operands, bind, expected)
            compared.add("values")
            if ours is None:
                return {"values", "gradients"}
            if excepted(library, case, "gradients", dtype):
                continue
            *seeds, grads = ours
            gradients = torch_gradients if library == "torch" else jax_gradients
            try:
                theirs = gradients(case, call, operands, bind, *seeds)
            except Exception as error:
                raise Incomparable("has no derivative") from error
        except Incomparable:
            continue
        for g, e in zip(theirs, grads, strict=True):
            np.testing.assert_allclose(g, e, rtol=TOLERANCE, atol=TOLERANCE)
        return {"values", "gradients"}
    return compared


def missing(compared, case):
    """Why a function that another library has was not compared; an error if nobody has written it down."""
    if not any(ask(library, case.name, case.aliases) for library in LIBRARIES):
        pytest.skip("no library has it")
    what = "gradients" if "values" in compared else "values"
    if (reason := UNCOMPARED.get(f"{case.name}: {what}")) is None and "TAPEGRAD_CHECK_PAGES" in os.environ:
        pytest.fail(f"{what} not compared with {LIBRARIES}: adapt arguments, or say why in UNCOMPARED")
    pytest.skip(f"{what}: {reason}")


def compare_all(name, dtype):
    """What could be compared of a function; JAX, which compiles for each sample, gets the first few only."""
    compared = set()
    for k, case in enumerate(FUNCTIONS[name]):
        compared |= compare(case, dtype, LIBRARIES if k < FEW else LIBRARIES[:1])
    return compared


@pytest.mark.parametrize("name", FUNCTIONS)
def test_real(name):
    compared = compare_all(name, "float64")
    if compared != {"values", "gradients"}:
        missing(compared, FUNCTIONS[name][0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_complex(name):
    if not compare_all(name, "complex128"):
        pytest.skip("refused, or no library compares")
