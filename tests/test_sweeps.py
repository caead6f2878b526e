"""Recorded sweeps: every row forward, in reverse and in batches; random programs; what a sweep emits."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import _jit, sweeps
from tapegrad.engine import expand
from tapegrad.ops.table import PUBLIC, ROWS, Kind
from tapegrad.ops.table import rows as table_rows
from tapegrad.sweeps import rules
from tapegrad.sweeps.store import Store, store
from tapegrad.tape import OP, OP_MASK, current
from tapegrad.testing.checks import Check, active, floating, to_array
from tapegrad.testing.table import draw_row, draw_sample, row_function

ELEMENTWISE = [r for r in table_rows if r.kind is Kind.ELEMENTWISE and not r.name.startswith("custom")]
DIFFERENTIABLE = [r for r in ELEMENTWISE if any(r.rules)]
# a wrong derivative on purpose; differences too coarse; no derivative by its first operand, which is refused
INEXACT = {"replace_value", "astype_float32", "zeta"}
ROW_SHAPES = ((2, 1), (1, 3), (2, 3))


def integer_row(row):
    return "int64" if row.dtype_rule == "bits" else "float64"


def names(entries):
    return [e.name for e in entries]


def samples(entry):
    rng = np.random.default_rng(0)
    for sample in entry.samples:
        operands, bind = draw_sample(sample, rng)
        if entry.differentiable and sample.differentiable and any(map(active, operands)):
            yield operands, bind(entry.function)


# --- every row, forward ---------------------------------------------------------------------------


@pytest.mark.parametrize("row", [r for r in DIFFERENTIABLE if r.name not in INEXACT], ids=lambda r: r.name)
def test_tangents_of_elementwise_rows(row):
    rng = np.random.default_rng(0)
    for shapes in (((5,),) * row.arity, ROW_SHAPES[: row.arity]):
        operands = draw_row(row, shapes, rng, integer_row(row))
        for k, rule in enumerate(row.rules):
            if rule is None and row.dtype_rule == "float":  # the order of a family: a whole number
                operands[k] = np.ones(operands[k].shape, np.int8)
        if not active(row_function(row)(*map(tg.tensor, operands))):
            continue
        try:
            Check(modes=("fwd",)).run(row_function(row), operands, 1)
        except NotImplementedError as error:  # the last derivative of a family
            assert not row.public and "there are derivatives by its first" in str(error)


@pytest.mark.parametrize("entry", list(PUBLIC.values()), ids=lambda e: e.name)
def test_tangents_of_public_functions(entry):
    for operands, function in samples(entry):
        Check(modes=("fwd",)).run(function, operands, 1)


@pytest.mark.parametrize(
    "name",
    ["sin", "power", "divide", "sum", "matmul", "take", "cumulative_prod", "logsumexp", "sort", "softmax"],
)
def test_forward_over_reverse(name):
    """The gradient's own tangents: order 2 in forward mode."""
    if name in ROWS and ROWS[name].kind is Kind.ELEMENTWISE:
        row = ROWS[name]
        cases = [(draw_row(row, ROW_SHAPES[: row.arity], np.random.default_rng(0)), row_function(row))]
    else:
        cases = list(samples(PUBLIC[name]))[:3]
    for operands, function in cases:
        Check(modes=("fwd",)).run(function, operands, 2)


def test_tangent_of_a_constant_function_is_none():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.sin(x)
    z = tg.tensor([1.0, 2.0]) * 2.0
    t = tg.tensor([1.0, 1.0])
    found = sweeps.push(current.tape, [(x, t)], [y, z], False)
    assert found[1] is None
    np.testing.assert_allclose(found[0].numpy(), np.cos([1.0, 2.0]))


# --- every row, in batches ------------------------------------------------------------------------


def flat(out):
    return tuple([part for o in out for part in flat(o)]) if isinstance(out, (tuple, list)) else (out,)


def same_as_loop(function, draws):
    """``vmap`` over each choice of batched operands is the loop over the batch."""
    arity = len(draws[0])
    for axes in itertools.product((0, None), repeat=arity):
        chosen = sum(a == 0 for a in axes)
        if chosen == 0 or (arity > 2 and chosen not in (1, arity)):
            continue
        given = [np.stack([d[k] for d in draws]) if a == 0 else draws[0][k] for k, a in enumerate(axes)]
        got = tg.vmap(lambda *xs: flat(function(*xs)), in_axes=axes)(*given)
        each = [[d[k] if a == 0 else draws[0][k] for k, a in enumerate(axes)] for d in draws]
        wanted = [flat(function(*map(tg.tensor, xs))) for xs in each]
        for j, g in enumerate(got):
            w = np.stack([to_array(out[j]) for out in wanted])
            assert np.asarray(g).dtype == w.dtype
            np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("row", ELEMENTWISE, ids=lambda r: r.name)
def test_batches_of_elementwise_rows(row):
    rng = np.random.default_rng(0)
    for shapes in (ROW_SHAPES[: row.arity], ((), (3,), (2, 3))[: row.arity]):
        same_as_loop(row_function(row), [draw_row(row, shapes, rng, integer_row(row)) for _ in range(3)])


BATCHED = [entry for entry in PUBLIC.values() if not entry.looks]


@pytest.mark.parametrize("entry", [e for e in PUBLIC.values() if e.looks], ids=lambda e: e.name)
def test_functions_that_look_at_values_say_so(entry):
    for operands, function in samples(entry):
        with pytest.raises(RuntimeError, match="looked at a value"):
            tg.vmap(lambda *xs, function=function: flat(function(*xs)))(*[o[None] for o in operands])


@pytest.mark.parametrize("entry", BATCHED, ids=lambda e: e.name)
def test_batches_of_public_functions(entry):
    rng = np.random.default_rng(0)
    for sample in entry.samples:
        drawn = [draw_sample(sample, rng) for _ in range(3)]
        same_as_loop(drawn[0][1](entry.function), [operands for operands, _ in drawn])


@pytest.mark.parametrize("entry", list(PUBLIC.values()), ids=lambda e: e.name)
def test_jacobians_in_both_directions(entry):
    """The adjoints of structured rows in batches (`jacrev`) against tangents in batches (`jacfwd`)."""
    for operands, function in samples(entry):
        if sum(o.size for o in operands) > 40:
            continue
        argnums = tuple(k for k, o in enumerate(operands) if active(o))

        def all_results(*xs, function=function):
            return tuple(floating(function(*xs)))

        down = tg.jacrev(all_results, argnums)(*map(tg.tensor, operands))
        up = tg.jacfwd(all_results, argnums)(*map(tg.tensor, operands))
        for a, b in zip(down, up, strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-10, atol=1e-12)


def test_nothing_in_the_table_is_unrolled(monkeypatch):
    """Every structured row with a use in the public functions has a batch rule."""
    unrolled = []
    kept = rules._one_by_one
    monkeypatch.setattr(
        rules, "_one_by_one", lambda row, *rest: unrolled.append(row.row.name) or kept(row, *rest)
    )
    monkeypatch.setattr(sweeps.store._stores, "store", Store())
    for entry in BATCHED:
        for operands, function in samples(entry):
            tg.vmap(lambda *xs, function=function: flat(function(*xs)))(*[o[None] for o in operands])
    assert not unrolled


def test_a_row_without_batch_rule_is_unrolled(monkeypatch):
    monkeypatch.setattr(sweeps.store._stores, "store", Store())
    monkeypatch.setattr(ROWS["cumulative_sum"], "batch", None)
    x = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(tg.vmap(tg.cumsum)(x), np.cumsum(x, 1))


def test_batched_integer_indices():
    x, idx = np.arange(12.0).reshape(3, 4), np.array([[0, -1], [2, 2], [3, 1]])
    np.testing.assert_array_equal(tg.vmap(lambda a, i: a[i])(x, idx), np.take_along_axis(x, idx % 4, 1))
    np.testing.assert_array_equal(tg.vmap(lambda i: tg.tensor(x[0])[i])(idx), x[0][idx])

    def put(a, i, v):
        a = tg.as_tensor(a) * 1.0
        a[i] = v
        return a

    for axes in itertools.product((0, None), repeat=3):
        if axes == (None,) * 3:
            continue
        v = np.array([[10.0, 20.0]] * 3) + np.arange(3)[:, None]
        given = [full if a == 0 else full[0] for full, a in zip((x, idx, v), axes)]
        got = tg.vmap(put, in_axes=axes)(*given)
        for lane in range(3):
            each = [g[lane] if a == 0 else g for g, a in zip(given, axes)]
            expected = each[0].copy()
            expected[each[1]] = each[2]
            np.testing.assert_array_equal(got[lane], expected)


def test_gradient_of_batched_assignment():
    """Of equal indices the last write counts, in each element of the batch."""
    idx = np.array([[0, 0], [1, 2]])
    v = np.array([[1.0, 2.0], [3.0, 4.0]])

    def put(i, u):
        a = tg.zeros(3) * 1.0
        a[i] = u
        return (a * tg.tensor([1.0, 10.0, 100.0])).sum()

    np.testing.assert_array_equal(tg.vmap(tg.grad(put, 1))(idx, v), [[0.0, 1.0], [10.0, 100.0]])
    np.testing.assert_array_equal(
        tg.grad(lambda u: tg.vmap(put)(idx, u).sum())(v), [[0.0, 1.0], [10.0, 100.0]]
    )


def test_strided_views_in_batches():
    def windows(a):
        b = tg.as_tensor(a) * 1.0
        b[::2] = b[1::2] * 10.0
        b[1] += 5.0
        return b

    x = np.arange(12.0).reshape(3, 4)
    expected = np.stack([windows(tg.tensor(r)).numpy() for r in x])
    np.testing.assert_array_equal(tg.vmap(windows)(x), expected)
    down = tg.vmap(tg.jacrev(windows))(x)
    for lane in range(3):
        np.testing.assert_array_equal(down[lane], tg.jacfwd(windows)(x[lane]))


# --- random programs ------------------------------------------------------------------------------

STEPS = [
    lambda a, b: a + b,
    lambda a, b: a * b,
    lambda a, b: tg.sin(a) - 0.5 * b,
    lambda a, b: tg.exp(-a * a),
    lambda a, b: tg.where(a > b, a, 2.0 * b),
    lambda a, b: a / (2.0 + b * b),
    lambda a, b: a.T if a.ndim == 2 and a.shape == b.T.shape else a,
    lambda a, b: a.sum(-1, keepdims=True) * b if a.ndim else a * b,
    lambda a, b: tg.logsumexp(tg.stack([a, b]), axis=0),
    lambda a, b: tg.flip(a) if a.ndim else a,
    lambda a, b: tg.cumsum(a, axis=0) if a.ndim else a,
    lambda a, b: (a @ b.T) @ b if a.ndim == 2 and a.shape == b.shape else a,
    lambda a, b: a[..., :1] * b if a.ndim else b,
    lambda a, b: tg.maximum(a, 0.25) ** 2.0,
    lambda a, b: tg.norm(a) * b,
]


@st.composite
def programs(draw):
    shape = draw(st.sampled_from([(), (3,), (2, 3), (3, 3)]))
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8
        )
    )
    return shape, steps, draw(st.integers(0, 2**31))


def run(steps, shape, x):
    values = [x, tg.sin(x) + 1.0]
    for f, i, j in steps:
        out = f(values[i % len(values)], values[j % len(values)])
        values.append(out if out.shape == shape else tg.broadcast_to(tg.mean(out), shape))
    return values[-1]


@settings(max_examples=60, deadline=None)
@given(programs())
def test_random_programs(program):
    """Batch = loop; forward = reverse; forward over reverse = reverse over reverse."""
    shape, steps, seed = program
    rng = np.random.default_rng(seed)
    xs = rng.uniform(-1.0, 1.0, (3, *shape))

    def f(x):
        return run(steps, shape, x)

    expected = np.stack([to_array(f(tg.tensor(x))) for x in xs])
    np.testing.assert_allclose(tg.vmap(f)(xs), expected, rtol=1e-12, atol=1e-12)
    x = xs[0]
    down, up = tg.jacrev(f)(x), tg.jacfwd(f)(x)
    np.testing.assert_allclose(down, up, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(tg.vmap(tg.jacrev(f))(xs)[0], down, rtol=1e-9, atol=1e-10)

    def total(x):
        return tg.sin(f(x)).sum()

    hessian = np.asarray(tg.hessian(total)(x))
    other = np.asarray(tg.jacrev(tg.jacrev(total))(x))
    scale = max(1.0, float(np.abs(hessian).max(initial=0.0)))
    np.testing.assert_allclose(hessian, other, rtol=1e-8, atol=1e-10 * scale)


# --- what a sweep emits ---------------------------------------------------------------------------


def emitted(f):
    tape = current.tape
    start = len(tape)
    kept = f()
    tape.seal()
    found = [table_rows[op & OP_MASK].name for op in tape.code[start : len(tape), OP].tolist()]
    del kept
    return found


def test_sums_cost_one_row_and_products_one_each():
    x = tg.tensor(1.5, requires_grad=True)
    y = tg.tensor(2.5, requires_grad=True)
    z = x * y + x
    found = emitted(lambda: tg.autograd.grad(z, [x, y], create_graph=True))
    assert found.count("multiply") == 2
    assert found.count("add") == 1  # x's two cotangents
    assert set(found) <= {"input", "multiply", "add", "positive"}


def test_adjoint_of_a_broadcast_is_a_sum():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.broadcast_to(x, (3, 2))
    g = tg.tensor(np.ones((3, 2)))
    found = emitted(lambda: tg.autograd.grad(y, x, g, create_graph=True))
    assert "sum" in found
    assert "scatter_strided" not in found


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.T,
        lambda x: tg.flip(x, axis=0),
        lambda x: x.reshape(3, 2),
        lambda x: tg.permute_dims(x[None], (2, 0, 1)),
        lambda x: x[::-1, ::-1].T,
    ],
)
def test_adjoint_of_a_rearrangement_is_one(move):
    x = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = move(x)
    g = np.arange(10.0, 16.0).reshape(y.shape)
    found = emitted(lambda: tg.autograd.grad(y, x, g, create_graph=True))
    assert "scatter_strided" not in found
    (recorded,) = tg.autograd.grad(y, x, g, create_graph=True)
    (plain,) = tg.autograd.grad(y, x, g)
    np.testing.assert_array_equal(recorded.detach().numpy(), plain.numpy())


def test_adjoint_of_an_overlapping_window_adds_up():
    x = tg.tensor(np.arange(4.0), requires_grad=True)
    y = tg.stack([x[:3], x[1:]])
    (g,) = tg.autograd.grad(y, x, np.ones((2, 3)), create_graph=True)
    np.testing.assert_array_equal(g.detach().numpy(), [1.0, 2.0, 2.0, 1.0])


def test_a_wanted_gradient_of_an_unused_branch_costs_nothing():
    x = tg.tensor(1.0, requires_grad=True)
    w = tg.tensor(2.0, requires_grad=True)
    y = x * 3.0
    for _ in range(10):
        w = tg.sin(w)
    z = y + w
    found = emitted(lambda: tg.autograd.grad(z, x, create_graph=True))
    assert "cos" not in found


def test_templates_are_traced_once():
    def f(n):
        x = tg.tensor(0.5, requires_grad=True)
        y = x
        for _ in range(n):
            y = tg.sin(y) * x
        return tg.autograd.grad(y, x, create_graph=True)

    f(2)
    known = store().n_templates
    f(200)
    assert store().n_templates == known


def test_constants_of_different_value_share_a_template_but_exponents_do_not_mix():
    x = tg.tensor(2.0, requires_grad=True)
    for c in (3.0, 4.0, 0.5):
        (g,) = tg.autograd.grad(x * c, x, create_graph=True)
        assert g.item() == c
        (g,) = tg.autograd.grad(x**c, x, create_graph=True)
        np.testing.assert_allclose(g.item(), c * 2.0 ** (c - 1.0), rtol=1e-14)


def test_many_shapes_start_the_store_over(monkeypatch):
    monkeypatch.setattr(sweeps.store._stores, "store", Store())
    monkeypatch.setattr("tapegrad.sweeps.store.LIMIT", 10)
    for n in range(1, 40):
        x = tg.tensor(np.ones(n), requires_grad=True)
        (g,) = tg.autograd.grad((x * x * 0.5).sum(), x, create_graph=True)
        np.testing.assert_array_equal(g.detach().numpy(), 1.0)
    assert store().n_templates < 30


def test_a_hook_that_starts_the_store_over(monkeypatch):
    """Templates are numbered anew while the outer sweep is in the middle."""
    monkeypatch.setattr(sweeps.store._stores, "store", Store())
    x = tg.tensor([0.5, 1.5], requires_grad=True)
    y = tg.sqrt(x).sum()
    # The first two templates, of expm1 and square, have constants; so has the second one afterwards.
    y.register_hook(lambda g: store().reset())
    (g,) = tg.autograd.grad(tg.expm1(tg.square(y)), x, create_graph=True)
    v = np.sqrt([0.5, 1.5])
    np.testing.assert_allclose(g.detach().numpy(), np.exp(v.sum() ** 2) * v.sum() / v, rtol=1e-13)


def test_hash_table_grows():
    s = Store()
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(-(2**62), 2**62, (3000, expand.KEY_WORDS)), axis=0)
    for k, key in enumerate(keys):
        s.remember(key.copy(), k + 1)
    assert len(s.values) >= 2 * len(keys)
    flat_keys, values = s.keys.ravel(), s.values
    for k, key in enumerate(keys[::37]):
        probe = key.copy()
        assert probe_table(flat_keys, values, probe) == 37 * k + 1
    missing = keys[0].copy()
    missing[3] += 1
    assert probe_table(flat_keys, values, missing) == expand.EMPTY


def probe_table(keys, values, key):
    """The plain Python form of `engine.expand.find` over arrays."""
    with np.errstate(over="ignore"):
        return _jit.engine[expand.find](keys, values, np.int64(len(values) - 1), key)


def test_two_threads_sweep_at_the_same_time():
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(10):
            x = rng.uniform(0.5, 1.5, 4)
            h = tg.hessian(lambda v: (tg.log(v) * v[::-1] ** 3).sum())(x)
            expected = np.diag(-(x[::-1] ** 3) / x**2) + np.fliplr(np.diag(3 * x[::-1] ** 2 / x))
            expected += np.fliplr(np.diag(3 * x**2 / x[::-1])) + np.diag(6 * x * np.log(x[::-1]))
            if not np.allclose(h, expected, rtol=1e-10):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


# --- hooks and functions on the way ---------------------------------------------------------------


def test_hook_that_looks_in_the_middle_of_a_sweep():
    """Looking runs the tape: cotangents that nobody held are gone then, and are computed again."""
    seen = []
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.sin(x)
    y.register_hook(lambda g: seen.append(g.detach().numpy().copy()) or g * 2.0)
    z = x * x + y * y
    (g,) = tg.autograd.grad(z.sum(), x, create_graph=True)
    v = np.array([1.0, 2.0])
    np.testing.assert_allclose(seen[0], 2 * np.sin(v))
    np.testing.assert_allclose(g.detach().numpy(), 2 * v + 2 * 2 * np.sin(v) * np.cos(v))
    (h,) = tg.autograd.grad(g.sum(), x)
    # the second pass goes through y too, so its hook doubles that part again
    np.testing.assert_allclose(h.numpy(), 2 + 8 * np.cos(v) ** 2 - 4 * np.sin(v) ** 2)


def test_gradients_of_two_inputs_are_two_tensors():
    x = tg.tensor([1.0], requires_grad=True)
    y = tg.tensor([1.0], requires_grad=True)
    seed = tg.tensor([3.0])
    a, b = tg.autograd.grad(x + y, [x, y], seed, create_graph=True)
    a += 1.0
    assert (a.item(), b.item(), seed.item()) == (4.0, 3.0, 3.0)


def test_a_sweep_does_not_disturb_what_is_pending():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    pending = tg.exp(x)
    (g,) = tg.autograd.grad((x**3).sum(), x, create_graph=True)
    np.testing.assert_allclose(pending.detach().numpy(), np.exp([1.0, 2.0]))
    np.testing.assert_allclose(g.detach().numpy(), [3.0, 12.0])
    current.tape.check()
