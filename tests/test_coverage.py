"""What the table says about its functions, and the page of the reference that is made of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from references import OLD

import tapegrad as tg
from tapegrad.cli import main
from tapegrad.cli.coverage import ask_peers, page
from tapegrad.ops.table import PUBLIC, Public, Sample
from tapegrad.ops.table import rows as table_rows
from tapegrad.testing import coverage, draw_sample
from tapegrad.testing.checks import floating
from tapegrad.testing.facts import _describe
from tapegrad.testing.peers import PEERS, SPELLINGS, ask, function, installed

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
WRITE = "python -m tapegrad coverage --write docs/reference"


@pytest.fixture(scope="module")
def table():
    return coverage()


def one(name):
    (found,) = coverage([name])
    return found


def test_facts():
    assert one("sin").dtypes == ("bool", "int", "float", "complex")
    assert one("subtract").dtypes == ("int", "float", "complex")
    assert one("bitwise_and").dtypes == ("bool", "int")
    assert one("exp").order == one("sum").order == one("astype").order == np.inf
    assert one("argmax").order == one("less").order == one("zeros").order == 0
    assert one("abs").kink == "0 at 0" and one("absolute") == one("abs")
    assert one("asin").kink == "infinite at -1, 1" and one("divide").kink == "infinite at y = 0"
    assert one("max").kink == "ties share evenly"
    assert one("angle").kink == "atan2: 0 at 0"
    assert one("sort").kink == one("topk").kink == "equal elements keep their order"
    assert one("put").order == np.inf
    with pytest.raises(ValueError, match="no_such_thing"):
        coverage(["sin", "no_such_thing"])


def test_operands_without_derivative_are_told():
    def halfway(x, y, /):
        return tg.as_tensor(x) * tg.as_tensor(y).detach()

    found = _describe(Public(halfway, np.multiply, (Sample(((3,), (3,))),)))
    assert found.by == (("x", np.inf), ("y", 0.0)) and found.order == np.inf


def test_orders_of_single_operands():
    found = one("gammainc")
    assert found.order == np.inf and dict(found.by) == {"x": 3, "y": np.inf}


def test_what_is_called_differentiable_is(table):
    """A function that says it is not differentiable gives no result that requires grad."""
    for entry in PUBLIC.values():
        for sample in entry.samples:
            if entry.differentiable or np.dtype(sample.dtype).kind not in "fc":
                continue
            operands, bind = draw_sample(sample, np.random.default_rng(0))
            outs = floating(bind(entry.function)(*[tg.tensor(a, requires_grad=True) for a in operands]))
            assert not any(o.requires_grad for o in outs), entry.name


def test_every_differentiable_function_has_derivatives_of_any_order_by_an_operand(table):
    said = {e.name for e in PUBLIC.values() if e.differentiable}
    said |= {r.name for r in table_rows if r.public and any(r.rules)}
    assert {c.name for c in table if c.order == np.inf} >= said
    assert all(order == 0 or order >= 3 for c in table for _, order in c.by)


@pytest.mark.parametrize("name", ["max", "min", "ptp", "std", "nanmax", "nanmin", "nanstd"])
def test_kinks_of_reductions_are_as_told(name):
    """Where everything is tied, elements get equal shares; 0 at 0."""
    told = {"ties share evenly": 1.0, "0 at 0": 0.0}[one(name).kink]
    for sample in PUBLIC[name].samples:
        if sample.differentiable and len(sample.shapes) == 1 and "where" not in sample.kwargs:
            _, bind = draw_sample(sample._replace(prepare=None), np.random.default_rng(0))
            x = tg.tensor(np.full(sample.shapes[0], told), requires_grad=True)
            bind(PUBLIC[name].function)(x).sum().backward()
            g = x.grad.numpy()
            np.testing.assert_allclose(g, g.mean() if told else 0.0, atol=1e-15)


def test_coverage_leaves_the_tape_alone():
    tape = tg.tape.current.tape
    before = len(tape)
    coverage(["sum", "sin", "median"])
    assert tg.tape.current.tape is tape and len(tape) == before


# --- the command and the page ---------------------------------------------------------------------


def test_command_shows_functions(capsys):
    assert main(["coverage", "sin", "linalg.solve", "maximum"]) == 0
    out = capsys.readouterr().out
    assert "any order" in out and "ties share evenly" in out and "linalg.solve" in out
    assert main(["coverage", "no_such_thing"]) == 1
    assert "no_such_thing" in capsys.readouterr().err


def test_command_writes_the_page(tmp_path, capsys):
    answers = json.loads((REFERENCE / "peers.json").read_text())
    (tmp_path / "peers.json").write_text(json.dumps(answers))
    assert main(["coverage", "sin", "erf", "--write", str(tmp_path)]) == 0
    text = (tmp_path / "coverage.md").read_text()
    assert "| `sin` | b i f c | any order | | ✓ | ✓ | ✓ | ✓ |" in text
    assert "| **all** | 2 | 2 | 2 | 2 | 2 | 1 |" in text
    assert f"wrote {tmp_path / 'coverage.md'}: 2 functions" in capsys.readouterr().out


def test_page_marks_what_was_not_looked_up(table):
    answers = {"date": "-", "versions": dict.fromkeys(PEERS, "0"), "functions": {}}
    assert "| `sin` | b i f c | any order | | ? | ? | ? | ? |" in page(table, answers)


@pytest.mark.skipif(OLD, reason="the page is of what functions take beside NumPy 2")
def test_page_is_what_the_table_says(table):
    answers = json.loads((REFERENCE / "peers.json").read_text())
    new = sorted({c.name for c in table} - answers["functions"].keys())
    assert not new, f"not looked up in other libraries; run {WRITE} --peers where they are installed"
    assert (REFERENCE / "coverage.md").read_text() == page(table, answers), f"stale; run {WRITE}"


# --- other libraries ------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS)
def test_spellings_exist(peer):
    if not installed(peer):
        pytest.skip(f"{peer} is not installed")
    for name, path in SPELLINGS[peer].items():
        assert not path or function(peer, path) is not None, f"{name}: {path}"


def test_peers_are_asked():
    if not all(map(installed, PEERS)):
        pytest.skip("not all of them are installed")
    assert ask("torch", "linalg.solve").path == "linalg.solve"
    assert ask("jax", "special.entr").path == "scipy.special.entr"
    assert ask("autograd", "cbrt").values_only and not ask("autograd", "sin").values_only
    assert ask("mygrad", "lgamma", ("gammaln",)) is None
    assert ask("jax", "gather") is None
    answers = ask_peers(coverage(["sin", "cbrt"]))
    assert answers["functions"]["cbrt"] == {
        "jax": "numpy.cbrt",
        "autograd": "numpy.cbrt (values)",
        "mygrad": "cbrt",
    }
