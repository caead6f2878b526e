"""Every elementwise row: hygiene, values, gradients, second order, dtypes and layouts."""

import inspect
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.ops.table import Kind, rows
from tapegrad.testing import arrays, broadcastable_shapes, check_grads, row_function
from tapegrad.testing.table import draw_row, interval

ROWS = [row for row in rows if row.kind is Kind.ELEMENTWISE]
PUBLIC_ROWS = [row for row in ROWS if row.public]
SMOOTH = [row for row in PUBLIC_ROWS if any(row.rules)]
DTYPES = ["float64", "float32", "int64", "int32", "uint8", "bool"]
TOLERANCE = {np.dtype("float64"): 4e-15, np.dtype("float32"): 4e-6}


def by_name(table):
    return pytest.mark.parametrize("row", table, ids=[row.name for row in table])


def reference(row, operands):
    with np.errstate(all="ignore"):
        return np.asarray(row.reference(*operands))


def assert_value(row, got, operands):
    """Compare with the reference, in the dtype that the row's rule promises."""
    got = got.detach().numpy()
    if row.dtype_rule == "float":
        # NumPy takes sin of int8 in float16; the table's rule is float64 for every integer
        operands = [a if a.dtype.kind == "f" else a.astype(np.float64) for a in operands]
    expected = reference(row, operands)
    assert got.shape == expected.shape
    if row.dtype_rule in ("bool", "test", "logical"):
        assert got.dtype == np.bool_
    elif row.dtype_rule == "float":
        assert got.dtype == np.result_type(*operands)
    elif expected.dtype.kind == got.dtype.kind == "f":
        assert got.dtype == np.result_type(*[a for a in operands if a.dtype.kind != "b"])
    if got.dtype.kind == "f":
        # many float32 references compute in float32 themselves: compare with float64's result
        exact = reference(row, [a.astype(np.float64) if a.dtype.kind == "f" else a for a in operands])
        rtol = TOLERANCE[got.dtype]
        np.testing.assert_allclose(got, exact.astype(got.dtype), rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(got, expected.astype(got.dtype))


# --- hygiene --------------------------------------------------------------------------------------


@by_name(ROWS)
def test_row_is_complete(row):
    assert row.doc.endswith(".")
    assert row.reference is not None or not row.public
    assert len(row.domain) <= row.arity
    assert len(row.rules) in (0, row.arity)
    for rule in filter(None, row.rules):
        names = list(inspect.signature(rule).parameters)
        assert names == ["g", "out", "x", "y", "z"][: 2 + row.arity], "rules are (g, out, x[, y[, z]])"
    for domain in row.domain:
        low, high, _ = interval(domain)
        assert low < high
        assert all(domain.low <= kink <= domain.high for kink in domain.avoid)
        if not np.isfinite(domain.low) and not np.isfinite(domain.high):
            assert low < 0 < high, "both signs are drawn where the domain has them"


@by_name(PUBLIC_ROWS)
def test_row_is_public(row):
    homes = [getattr(tg, space) for space in (row.home, *row.also) if space] + [tg] * (not row.home)
    for name, home in itertools.product((row.name, *row.aliases), homes):
        function = getattr(home, name)
        assert callable(function) and name in home.__all__
        assert function.__doc__
        if row.method and name.isidentifier():
            assert callable(getattr(tg.Tensor, name))


def test_names_and_aliases_are_unique():
    names = [name for row in PUBLIC_ROWS for name in (row.name, *row.aliases)]
    assert len(set(names)) == len(names)


@by_name(SMOOTH)
def test_domain_is_smooth(row):
    """Few drawn points are kinks: domains say where a derivative exists."""
    rng = np.random.default_rng(1)
    operands = draw_row(row, [(400,)] * row.arity, rng)
    rejected = ~smooth(row, operands)
    assert rejected.mean() <= 0.05, f"{rejected.mean():.0%} of the domain is not smooth"
    assert np.isfinite(reference(row, operands)).all()


def numeric(row, operands, k):
    """Derivative with respect to operand ``k``, elementwise, and whether it exists there."""
    x = operands[k]
    h = 6e-6 * np.maximum(1.0, np.abs(x))

    def at(step):
        return reference(row, [*operands[:k], x + step, *operands[k + 1 :]]).astype(np.float64)

    middle, up, down = at(0), at(h), at(-h)
    slope = (up - down) / (2 * h)
    with np.errstate(all="ignore"):
        gap = np.abs((up - middle) - (middle - down)) / h
        exists = np.isfinite(slope) & (gap <= 1e-3 * (1 + np.abs(slope)))
    return slope, exists


def smooth(row, operands):
    shape = np.broadcast_shapes(*[a.shape for a in operands])
    good = np.ones(shape, bool)
    for k, rule in enumerate(row.rules):
        if rule is not None:
            good &= numeric(row, operands, k)[1]
    return good


# --- values ---------------------------------------------------------------------------------------


@by_name(PUBLIC_ROWS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_value(row, dtype):
    floating = dtype.startswith("float")
    if row.dtype_rule == "bits" and floating:
        operands = [tg.tensor(np.ones(2, dtype))] * row.arity
        with pytest.raises(TypeError, match=row.name):
            row_function(row)(*operands)
        return
    operands = draw_row(row, [(2, 3)] * row.arity, np.random.default_rng(0), dtype)
    try:
        expected = reference(row, operands)
    except (TypeError, ValueError):
        pytest.skip(f"the reference does not take {dtype}")
    if expected.dtype.kind not in "biuf":
        pytest.skip(f"the reference gives {expected.dtype}")
    try:
        got = row_function(row)(*[tg.tensor(a) for a in operands])
    except TypeError as error:
        assert dtype == "bool", f"{row.name} of {dtype}: {error}"
        assert row.name in str(error)
        return
    assert_value(row, got, operands)


@by_name(PUBLIC_ROWS)
def test_layouts(row):
    """0-d, empty, broadcast, transposed, sliced, Fortran-ordered, strided and read-only operands."""
    rng = np.random.default_rng(3)
    dtype = "int64" if row.dtype_rule == "bits" else "float64"
    function = row_function(row)

    def check(operands, given=None):
        given = given or [tg.tensor(a) for a in operands]
        assert_value(row, function(*given), operands)

    for shape in ((), (0,), (2, 0, 3), (1,), (4, 3)):
        check(draw_row(row, [shape] * row.arity, rng, dtype))
    if row.arity > 1:
        for shapes in ([(2, 1), (1, 3), (3,)], [(), (4,), (4, 1)], [(3,), (), (1, 1)], [(0, 1), (3,), (1,)]):
            check(draw_row(row, shapes[: row.arity], rng, dtype))
    base = draw_row(row, [(4, 6)] * row.arity, rng, dtype)
    check([a.T for a in base], [tg.tensor(a).T for a in base])
    check([a[1:, ::2] for a in base], [tg.tensor(a)[1:, ::2] for a in base])
    check([a[::-1] for a in base], [tg.tensor(a)[::-1] for a in base])
    check([a.T for a in base], [tg.tensor(np.asfortranarray(a.T)) for a in base])
    for a in base:
        a.flags.writeable = False
    frozen = [a[:, 1::2] for a in base]
    before = [a.copy() for a in frozen]
    check(frozen, [tg.asarray(a) for a in frozen])
    for a, b in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(a, b)


@by_name(PUBLIC_ROWS)
@given(data=st.data())
def test_value_at_broadcast_shapes(row, data):
    if row.dtype_rule == "bits":
        return
    operands = draw_operands(row, data)
    assert_value(row, row_function(row)(*[tg.tensor(a) for a in operands]), operands)


def draw_operands(row, data, min_side=0):
    shapes = data.draw(broadcastable_shapes(row.arity, min_side=min_side), label="shapes")
    operands = []
    for k, shape in enumerate(shapes):
        dtype = "bool" if row.dtype_rule == "where" and k == 0 else "float64"
        domain = row.domain[k] if k < len(row.domain) else ()
        operands.append(data.draw(arrays(shape, dtype, *([domain] if domain else [])), label="xyz"[k]))
    return operands


# --- derivatives ----------------------------------------------------------------------------------


@by_name(SMOOTH)
@given(data=st.data())
def test_gradient(row, data):
    """Against central differences of the reference, at inputs drawn by Hypothesis."""
    operands = draw_operands(row, data)
    good = smooth(row, operands)
    inputs = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in operands]
    out = row_function(row)(*inputs)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, out.shape) * good
    out.backward(tg.tensor(weights))
    for k, (x, rule) in enumerate(zip(inputs, row.rules, strict=True)):
        if rule is None or not x.requires_grad:
            continue
        slope, _ = numeric(row, operands, k)
        terms = weights * np.where(good, slope, 0.0)
        note(f"operand {k}: {operands[k]!r}")
        expected = unbroadcast(terms, operands[k].shape)
        magnitude = unbroadcast(np.abs(terms), operands[k].shape)
        value = np.abs(np.where(good, reference(row, operands), 0.0))
        noise = 1e-9 * (1 + float(value.max(initial=0)))
        got = x.grad.numpy()
        assert got.shape == operands[k].shape and got.dtype == operands[k].dtype
        assert (np.abs(got - expected) <= 2e-5 * magnitude + noise).all(), (got, expected)


def unbroadcast(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    ones = tuple(k for k, n in enumerate(shape) if n == 1)
    return g.sum(axis=ones, keepdims=True) if ones else g


@by_name(SMOOTH)
def test_second_order(row):
    rng = np.random.default_rng(5)
    check_grads(row_function(row), draw_row(row, [(3,)] * row.arity, rng), order=2)
    if row.arity > 1:
        shapes = [(2, 1), (3,), ()][: row.arity]
        check_grads(row_function(row), draw_row(row, shapes, rng), order=2)


@by_name(SMOOTH)
def test_float32_gradient(row):
    operands = draw_row(row, [(2, 2)] * row.arity, np.random.default_rng(6), "float32")
    check_grads(row_function(row), operands, order=1)
    x = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in operands]
    out = row_function(row)(*x).real
    assert out.dtype == np.float32
    out.sum().backward()
    assert all(
        t.grad.dtype == np.float32 for t, rule in zip(x, row.rules, strict=True) if rule and t.requires_grad
    )


@by_name(SMOOTH)
def test_gradient_through_views(row):
    """Transposed, sliced and reversed operands send their cotangents back to the right places."""
    rng = np.random.default_rng(7)
    function = row_function(row)
    operands = draw_row(row, [(4, 3)] * row.arity, rng)
    for view in (lambda a: a.T, lambda a: a[1:, ::2], lambda a: a[::-1, 1]):
        check_grads(lambda *xs, view=view: function(*[view(x) for x in xs]), operands, order=1)


@by_name(SMOOTH)
def test_same_operand_twice(row):
    """``f(x, x)`` accumulates both contributions."""
    if row.arity != 2 or row.name in (
        "maximum",
        "minimum",
        "fmax",
        "fmin",
        "remainder",
        "fmod",
        "floor_divide",
    ):
        return  # kinks lie exactly on the diagonal
    x = np.random.default_rng(8).uniform(0.3, 0.8, 3)
    low, high, _ = interval(row.domain[0])
    if not (low <= 0.3 and high >= 0.8):
        return
    check_grads(lambda x: row_function(row)(x, x), [x], order=1)


@by_name(SMOOTH)
def test_zero_adjoint_gives_zero(row):
    """A cotangent of zero contributes zero, even where the local derivative is infinite or NaN."""
    special = [0.0, -1.0, 1.0, np.inf, -np.inf]
    given = [np.array(special)] * row.arity
    if row.dtype_rule == "where":
        given[0] = np.array([True, False, True, False, True])
    x = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in given]
    out = row_function(row)(*x)
    if row.guarded:
        out.backward(tg.tensor(np.zeros(5)))
        for t in x:
            if t.requires_grad:
                np.testing.assert_array_equal(t.grad.numpy(), np.zeros(5))


FORMS = re.compile(r"ties share evenly|(?P<value>-?[\d.]+) (at (?P<place>.+)|everywhere)")


@by_name([row for row in PUBLIC_ROWS if row.kink and FORMS.fullmatch(row.kink)])
def test_kinks_are_as_the_row_says(row):
    """``kink="0 at 0"``: that is what every operand's gradient is there."""
    said = FORMS.fullmatch(row.kink)
    value = float(said["value"] or 1 / row.arity)
    points = [[float(k)] * row.arity for k in (-1, 0, 2)]  # everywhere, or ties
    if said["place"]:
        named = dict(re.findall(r"([xyz]) = (-?[\d.]+)", said["place"]))
        points = [[float(named.get(name, 0) if named else said["place"]) for name in "xyz"[: row.arity]]]
    for point in points:
        x = [tg.tensor(p, requires_grad=True) for p in point]
        row_function(row)(*x).backward()
        assert [t.grad.item() for t in x] == [value] * row.arity, point


@by_name(PUBLIC_ROWS)
def test_kinks_are_accounted_for(row):
    """Where the domain of a differentiable row leaves a point out, the row says what happens there."""
    if any(row.rules) and any(domain.avoid for domain in row.domain):
        assert row.kink or row.guarded
