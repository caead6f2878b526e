"""``np.f(tensor)`` for every function of NumPy: NumPy's value, or an error that says that there is none."""

import inspect
import operator

import numpy as np
import pytest
from numpy.testing.overrides import get_overridable_numpy_array_functions

import tapegrad as tg
from tapegrad.interop.arguments import NOTHING, POSITIONAL, Passing
from tapegrad.interop.functions import FILLS, LOOKS, counterpart, full_name
from tapegrad.ops.table import PUBLIC, rows
from tapegrad.testing import check_grads, draw_sample

# Not functions of numeric arrays: dates, records, strings, text files, packed bits.
ELSEWHERE = ("char.", "lib.recfunctions", "lib.scimath", "strings.")
NOT_OF_TENSORS = {
    "busday_count", "busday_offset", "datetime_as_string", "frombuffer", "fromfile", "fromfunction",
    "fromiter", "fromstring", "genfromtxt", "is_busday", "loadtxt",
}  # fmt: skip
NAMES = sorted(
    name
    for name in {full_name(f) for f in get_overridable_numpy_array_functions()}
    if not name.startswith(ELSEWHERE) and name not in NOT_OF_TENSORS
)
FUNCTIONS = [(name, operator.attrgetter(name)(np)) for name in NAMES]
COUNTERPARTS = [(name, f) for name, f in FUNCTIONS if f not in LOOKS and counterpart(f) is not None]
OTHERS = [(name, f) for name, f in FUNCTIONS if f not in LOOKS and counterpart(f) is None]
A = np.random.default_rng(0).permutation(np.arange(12.0)).reshape(3, 4)
V = np.array([3.0, 1.0, 2.0])

# Arguments for functions that have no sample, or only such as NumPy does not take.
CALLS = {
    "arange": lambda f, x: f(0, 5, 2, like=x),
    "asarray": lambda f, x: f([1.0, 2.0], like=x),
    "astype": lambda f, x: f(x, np.float32),
    "empty": lambda f, x: f((0, 2), like=x),
    "empty_like": lambda f, x: f(x[:0]),
    "eye": lambda f, x: f(3, 4, 1, like=x),
    "full": lambda f, x: f((2, 3), 2.5, like=x),
    "full_like": lambda f, x: f(x, 2.5),
    "linspace": lambda f, x: f(x[0, 0], 2.0, 5),
    "meshgrid": lambda f, x: f(x[0], x[1], indexing="ij"),
    "ones": lambda f, x: f((2, 3), like=x),
    "ones_like": lambda f, x: f(x),
    "zeros": lambda f, x: f((2, 3), np.float32, like=x),
    "zeros_like": lambda f, x: f(x, dtype=np.int64),
    "argwhere": lambda f, x: f(x),
    "isin": lambda f, x: f(x, [1.0, 5.0]),
    "nonzero": lambda f, x: f(x),
    "round": lambda f, x: f(x / 7, 2),
    "around": lambda f, x: f(x / 7, decimals=1),
    "searchsorted": lambda f, x: f(np.arange(12.0), x, "right"),
    "isneginf": lambda f, x: f((x + 1) * [1.0, -np.inf, np.inf, 1.0]),
    "isposinf": lambda f, x: f((x + 1) * [1.0, -np.inf, np.inf, 1.0]),
    "real": lambda f, x: f(x * (1 + 2j)),
    "imag": lambda f, x: f(x * (1 + 2j)),
    "flatnonzero": lambda f, x: f(x > 4),
    "lexsort": lambda f, x: f((x[0], x[1] > 5)),
    "array": lambda f, x: f([1, 2], float, ndmin=2, like=x),
    "geomspace": lambda f, x: f(x[0, :2] + 1.0, 2.0, 5, axis=1),
    "identity": lambda f, x: f(3, like=x),
    "ix_": lambda f, x: f(x[0], x[:3, 0] > 4),
    "logspace": lambda f, x: f(x[0, :2], 2.0, 5, False, 2.0),
    "ravel_multi_index": lambda f, x: f(((x > 4) * 1, (x > 2) * 2), (2, 3)),
    "diag_indices_from": lambda f, x: f(x[:3, :3]),
    "tril_indices_from": lambda f, x: f(x, 1),
    "triu_indices_from": lambda f, x: f(x, k=-1),
    "histogramdd": lambda f, x: f(x, 2),
    "tri": lambda f, x: f(3, 4, 1, like=x),
    "unravel_index": lambda f, x: f((x > 4) * 5, (2, 3), "F"),
    "fix": lambda f, x: f(x / 7 - 1),
}


UP_TO_SIGNS = {"linalg.svd", "linalg.qr", "linalg.eigh", "linalg.eig"}  # and nothing else is determined


def several(out):
    return [part for o in out for part in several(o)] if isinstance(out, (tuple, list)) else [out]


def same(out, expected):
    out, expected = several(out), several(expected)
    assert len(out) == len(expected)
    for o, e in zip(out, expected, strict=True):
        assert isinstance(o, tg.Tensor)
        e = np.asarray(e)
        if o.dtype.kind == "c" and e.dtype.kind == "f":  # eigenvalues: NumPy looks whether all are real
            e = e.astype(o.dtype)
        assert o.shape == e.shape
        assert o.dtype == e.dtype or (o.dtype == np.int64 and e.dtype.kind == "i")  # ranks are C's ints
        np.testing.assert_allclose(o.detach().numpy(), e, rtol=1e-12, atol=1e-12)


def calls(name, function):
    """Ways to call a function: each takes the function and, instead of arrays, what to convert them to."""
    if name in CALLS:
        yield lambda f, wrap: CALLS[name](f, wrap(A))
        return
    for row in rows:
        if row.reference is function:
            yield lambda f, wrap, n=row.arity: f(*[wrap(A / 20 + 0.1)] * n)
    target = counterpart(function)
    for entry in PUBLIC.values():
        if entry.function is target:
            for sample in entry.samples:
                operands, bind = draw_sample(sample, np.random.default_rng(0))
                if sample.prefix or operands:
                    yield lambda f, wrap, operands=operands, bind=bind: bind(f)(*map(wrap, operands))


@pytest.mark.parametrize(("name", "function"), COUNTERPARTS, ids=[n for n, _ in COUNTERPARTS])
def test_counterpart_gives_numpys_value(name, function):
    if function in FILLS:
        pytest.skip("tested by its effect")
    if name == "nanquantile" and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("this release of NumPy puts the axes of several quantiles elsewhere")
    done = 0
    for call in calls(name, function):
        try:
            expected = call(function, np.asarray)
        except (TypeError, ValueError):  # arguments that only tapegrad's function has
            continue
        out = call(function, tg.tensor)
        if name in UP_TO_SIGNS:
            out, expected = [[abs(part) for part in several(parts)] for parts in (out, expected)]
        same(out, expected)
        done += 1
    assert done, "no arguments to test this function with: add a sample, or a line to CALLS"


@pytest.mark.parametrize(("name", "function"), COUNTERPARTS, ids=[n for n, _ in COUNTERPARTS])
def test_required_arguments_are_passed_on(name, function):
    passing = Passing(name, function, counterpart(function))
    if passing.signature is None:
        pytest.skip("this release of NumPy does not tell the signature")
    for p in passing.signature.parameters.values():
        if p.default is inspect.Parameter.empty and p.kind in POSITIONAL:
            assert passing.places[p.name] is not None, p.name


@pytest.mark.parametrize(("name", "function"), COUNTERPARTS, ids=[n for n, _ in COUNTERPARTS])
def test_arguments_left_out_mean_the_same(name, function):
    """Where both have an argument, its default asks for the same."""
    target = counterpart(function)
    passing = Passing(name, function, target)
    if passing.signature is None:
        pytest.skip("this release of NumPy does not tell the signature")
    ours = inspect.signature(target).parameters
    for p in passing.signature.parameters.values():
        place = passing.places.get(p.name)
        mine = ours.get(place) if isinstance(place, str) else None
        if mine is None or p.default in (inspect.Parameter.empty, NOTHING, None):
            continue
        if mine.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        if name == "einsum" and p.name == "optimize":  # the order of products, not their meaning
            continue
        alike = {(0, None), (0, 0.0), (True, None), (float, None)}  # ddof; copy; dtype
        assert mine.default == p.default or (p.default, mine.default) in alike, p.name


@pytest.mark.parametrize(("name", "function"), OTHERS, ids=[n for n, _ in OTHERS])
def test_without_counterpart_an_error_says_so(name, function):
    x = tg.tensor(A)
    try:
        required = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.default is inspect.Parameter.empty and p.kind in POSITIONAL
        ]
        count, like = len(required), {"like": x} if "like" in inspect.signature(function).parameters else {}
    except ValueError:
        pytest.skip("this release of NumPy does not tell the signature")
    with pytest.raises(TypeError, match=rf"^{name}: tapegrad has no such operation; .*detach\(\)\.numpy\(\)"):
        function(*[x] * max(count, 1), **like)


# --- functions that write into their first argument -----------------------------------------------

WRITES = [
    (np.copyto, (V[:, None],), {}),
    (np.copyto, (2,), {"where": A > 4}),
    (np.copyto, (A + 1,), {"where": A > 4, "casting": "unsafe"}),
    (np.putmask, (A > 4, V), {}),
    (np.putmask, (A > 4, A * 2), {}),
    (np.place, (A > 4, V), {}),
    (np.put, ([0, -1, 5, 0], V), {}),
    (np.put, ([[13, 2]], [1.0, 2.0]), {"mode": "wrap"}),
    (np.put, ([13, -20], 7.0), {"mode": "clip"}),
    (np.fill_diagonal, (V,), {}),
    (np.fill_diagonal, (2.5,), {}),
    (np.put_along_axis, (np.array([[0], [2], [1]]), 9.0, 1), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), WRITES)
def test_writing(function, args, kwargs):
    expected = A.copy()
    function(expected, *args, **kwargs)
    for wrap in (lambda v: v, lambda v: tg.tensor(v) if isinstance(v, np.ndarray) else v):
        x = tg.tensor(A)
        assert function(x, *map(wrap, args), **kwargs) is None
        np.testing.assert_array_equal(x.numpy(), expected)
        filled = A.copy()  # and an array, with what tensors hold
        function(filled, *map(wrap, args), **kwargs)
        np.testing.assert_array_equal(filled, expected)


def test_gradients_of_what_is_written():
    def f(x, v):
        y = x * 1.0
        np.copyto(y, v[:, None], where=A > 4)
        np.fill_diagonal(y, v * 2)
        np.put(y, [1, 1], v[:2])
        np.putmask(y, A > 10, v)
        np.place(y, A < 2, v)
        return y * y

    check_grads(f, (A, V))


def test_writing_wraps_around_tall_matrices():
    a, t = np.zeros((7, 2)), tg.zeros((7, 2))
    np.fill_diagonal(a, [1.0, 2.0, 3.0], wrap=True)
    np.fill_diagonal(t, [1.0, 2.0, 3.0], wrap=True)
    np.testing.assert_array_equal(t.numpy(), a)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: np.copyto(x, np.ones(3)), ValueError, r"copyto: .*\(3,\).*\(3, 4\)"),
        (lambda x: np.copyto(x, A, casting="no", where=[True, False]), ValueError, "copyto"),
        (lambda x: np.copyto(x.astype(np.int64), A), TypeError, "copyto: cannot cast from float64 to int64"),
        (lambda x: np.putmask(x, [True], 1.0), ValueError, "putmask"),
        (lambda x: np.place(x, A > 4, []), ValueError, "place: cannot write"),
        (lambda x: np.put(x, [12], 1.0), IndexError, "put: index 12"),
        (lambda x: np.put(x, [1], 1.0, mode="other"), ValueError, "put: mode"),
        (lambda x: np.fill_diagonal(x[0], 1.0), ValueError, r"fill_diagonal: .*\(4,\)"),
        (lambda x: np.copyto(tg.ones(2, requires_grad=True), 1.0), RuntimeError, "leaf"),
    ],
)
def test_errors_of_writing(call, error, words):
    with pytest.raises(error, match=words):
        call(tg.tensor(A))


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: np.argsort(x, order="a"), "argsort: the argument 'order'"),
        (lambda x: np.partition(x, 1, order="a"), "partition: the argument 'order'"),
        (lambda x: np.median(x, overwrite_input=True), "median: the argument 'overwrite_input'"),
        (lambda x: np.meshgrid(x[0], sparse=True), "meshgrid: the argument 'sparse'"),
        (lambda x: np.linspace(x[0], x[1], 3, retstep=True), "linspace: the argument 'retstep'"),
        (lambda x: np.stack([x, x], casting="no"), "stack: the argument 'casting'"),
        (lambda x: np.zeros_like(x, shape=(2,)), "zeros_like: the argument 'shape'"),
        (lambda x: np.concatenate([x, x], casting="no"), "concatenate: the argument 'casting'"),
        (lambda x: np.ravel(x, "F"), "ravel: the argument 'order'"),
    ],
)
def test_arguments_we_do_not_have_are_refused_by_name(call, words):
    with pytest.raises(TypeError, match=f"^{words} is not supported on tensors$"):
        call(tg.tensor(A))


def test_arguments_that_ask_for_nothing_are_taken():
    x = tg.tensor(A)
    same(np.argsort(x, axis=1, kind=None, order=None), np.argsort(A, axis=1))
    same(np.take(x, [0], mode="raise"), np.take(A, [0]))
    same(np.sum(x, None, None, None), np.sum(A))
    same(np.sum(a=x, axis=0), np.sum(A, axis=0))
    same(np.clip(a=x, a_min=1.0, a_max=None), np.clip(A, 1.0, None))
    same(np.ravel(x, order="C"), np.ravel(A))
    same(np.take(axis=1, indices=[2, 0], a=x), np.take(axis=1, indices=[2, 0], a=A))
    same(np.repeat(axis=0, a=x, repeats=2), np.repeat(A, 2, 0))


def test_out_is_written():
    x = tg.tensor(A, requires_grad=True)
    out = tg.zeros(4)
    assert np.sum(x * x, axis=0, out=out) is out
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * A)
    array = np.zeros((6, 4))
    assert np.concatenate([x.detach(), A], out=array) is array
    np.testing.assert_array_equal(array, np.concatenate([A, A]))
    with pytest.raises(ValueError, match="sum: a result of shape"):
        np.sum(x, axis=0, out=tg.zeros(3))


def test_masks_of_reductions():
    x, mask = tg.tensor(A), A > 4
    for f in (np.sum, np.mean, np.prod, np.var, np.std, np.any, np.all):
        same(f(x, axis=1, where=mask), f(A, axis=1, where=mask))
        same(f(x, where=tg.tensor(mask), keepdims=True), f(A, where=mask, keepdims=True))
    for f in (np.max, np.min):
        same(f(x, axis=1, where=mask, initial=3.0), f(A, axis=1, where=mask, initial=3.0))
        same(f(x[:0], axis=0, initial=3.0), f(A[:0], axis=0, initial=3.0))
        with pytest.raises(ValueError, match="initial"):
            f(x, where=mask)
    if "mean" in inspect.signature(np.var).parameters:  # since NumPy 2.0
        same(np.var(x, axis=1, mean=A.mean(1, keepdims=True)), np.var(A, axis=1))
    with pytest.raises(ValueError, match=r"sum: a mask of shape \(2, 3, 4\)"):
        np.sum(x, where=np.ones((2, 3, 4), bool))
    check_grads(lambda x: np.var(x, axis=1, where=mask, ddof=1), (A,))
    check_grads(lambda x, i: np.prod(x, axis=1, where=mask, initial=i), (A, 2.0))
    check_grads(lambda x, i: np.max(x, axis=1, where=mask, initial=i), (A, 6.5))


def test_foreign_arrays_are_asked_themselves():
    class Foreign:
        def __array_function__(self, func, types, args, kwargs):
            return "foreign"

    assert np.concatenate([tg.tensor(V), Foreign()]) == "foreign"
