"""Every public function that is not an elementwise row, at the samples registered with it."""

from operator import attrgetter

import numpy as np
import pytest
from references import reference_value

import tapegrad as tg
from tapegrad.ops.table import PUBLIC
from tapegrad.testing import check_grads, draw_sample

CASES = [(entry, sample) for entry in PUBLIC.values() for sample in entry.samples]
IDS = [f"{entry.name}-{k}" for entry in PUBLIC.values() for k in range(len(entry.samples))]
cases = pytest.mark.parametrize(("entry", "sample"), CASES, ids=IDS)
SMOOTH = [
    k
    for k, (e, s) in enumerate(CASES)
    if e.differentiable and s.differentiable and s.dtype.startswith("float")
]
smooth_cases = pytest.mark.parametrize(
    ("entry", "sample"), [CASES[k] for k in SMOOTH], ids=[IDS[k] for k in SMOOTH]
)
entries = pytest.mark.parametrize("entry", list(PUBLIC.values()), ids=list(PUBLIC))


def several(out):
    return [part for o in out for part in several(o)] if isinstance(out, (tuple, list)) else [out]


def compare(out, expected, rtol=1e-12):
    out, expected = several(out), several(expected)
    assert len(out) == len(expected)
    for o, e in zip(out, expected, strict=True):
        o, e = o.detach().numpy(), np.asarray(e)
        assert o.shape == e.shape
        assert o.dtype.kind == e.dtype.kind
        np.testing.assert_allclose(o, e, rtol=rtol, atol=rtol)


@entries
def test_entry_is_complete(entry):
    assert entry.doc
    assert entry.samples or not entry.differentiable, "a differentiable function needs samples"
    assert "Examples" in entry.function.__doc__
    home = getattr(tg, entry.home) if entry.home else tg
    for name in (entry.function.__name__, *entry.aliases):
        # a distribution's methods are found on the distribution
        assert callable(attrgetter(name)(home)) and name.split(".")[0] in home.__all__


@cases
def test_value(entry, sample):
    if entry.reference is None:
        pytest.skip("no reference")
    operands, bind = draw_sample(sample, np.random.default_rng(0))
    expected = reference_value(entry, bind, operands)
    compare(bind(entry.function)(*map(tg.tensor, operands)), expected)
    frozen = [a.copy() for a in operands]
    for a in frozen:
        a.flags.writeable = False
    compare(bind(entry.function)(*map(tg.asarray, frozen)), expected)


@cases
def test_layouts(entry, sample):
    """Operands that are transposed and reversed views give what contiguous ones give."""
    if entry.reference is None:
        pytest.skip("no reference")
    operands, bind = draw_sample(sample, np.random.default_rng(1))
    expected = reference_value(entry, bind, operands)
    views = [tg.tensor(a.T.copy()).T for a in operands]
    compare(bind(entry.function)(*views), expected)
    views = [tg.tensor(a[::-1].copy())[::-1] if a.ndim else tg.tensor(a) for a in operands]
    compare(bind(entry.function)(*views), expected)


@cases
def test_float32(entry, sample):
    if not sample.dtype.startswith("float"):
        pytest.skip("not floating")
    operands, bind = draw_sample(sample, np.random.default_rng(2), "float32")
    out = several(bind(entry.function)(*map(tg.tensor, operands)))
    assert all(o.dtype != np.float64 for o in out)
    if entry.reference is not None:
        compare(out, reference_value(entry, bind, [a.astype(np.float64) for a in operands]), rtol=2e-5)


@cases
def test_integers(entry, sample):
    """Where NumPy takes integers, so do we, with the same values."""
    if entry.reference is None or sample.dtype != "float64":
        pytest.skip("no reference or not generic")
    operands, bind = draw_sample(sample, np.random.default_rng(3), "int64")
    try:
        expected = reference_value(entry, bind, operands)
    except (TypeError, ValueError):
        pytest.skip("the reference does not take integers")
    compare(bind(entry.function)(*map(tg.tensor, operands)), expected)


@smooth_cases
def test_derivatives(entry, sample):
    operands, bind = draw_sample(sample, np.random.default_rng(4))
    check_grads(bind(entry.function), operands, order=2)


@smooth_cases
def test_float32_gradient(entry, sample):
    operands, bind = draw_sample(sample, np.random.default_rng(5), "float32")
    check_grads(bind(entry.function), operands, order=1)


@smooth_cases
def test_requires_grad_follows_inputs(entry, sample):
    operands, bind = draw_sample(sample, np.random.default_rng(6))
    out = several(bind(entry.function)(*[tg.tensor(a) for a in operands]))
    assert not any(o.requires_grad for o in out)
    out = several(bind(entry.function)(*[tg.tensor(a, requires_grad=True) for a in operands]))
    assert any(o.requires_grad for o in out)
    with tg.no_grad():
        out = several(bind(entry.function)(*[tg.tensor(a, requires_grad=True) for a in operands]))
    assert not any(o.requires_grad for o in out)
