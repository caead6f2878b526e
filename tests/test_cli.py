"""The command line, as a user meets it."""

import subprocess
import sys

import numpy as np
import pytest

from tapegrad.cli import build_parser, main
from tapegrad.cli.demo import load_table, simulate, split


def test_unknown_command_is_a_usage_error(capsys):
    for arguments in (["nonsense"], [], ["demo", "--steps", "0"], ["info", "--nonsense"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    assert "usage: tapegrad" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "info", "warmup", "check", "coverage"])
def test_help_explains(command, capsys):
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args([command, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out.split()) > 20


def test_demo_learns(capsys):
    assert main(["demo", "--steps", "40"]) == 0
    out = capsys.readouterr().out
    assert "right on test cases" in out
    assert "40/40" in out
    assert "sum" in out.split("The tape of one step")[1]
    share = float(out.split("right on test cases")[1].split("%")[0])
    assert share > 80


def test_demo_is_deterministic():
    for a, b in zip(simulate(), simulate(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_demo_reads_a_table(tmp_path, capsys):
    rng = np.random.default_rng(0)
    path = tmp_path / "cases.csv"
    lines = ["size,kind,weight"]
    for _ in range(60):
        sick = rng.random() < 0.5
        lines.append(f"{rng.normal() + 3 * sick:.3f},{'sick' if sick else 'healthy'},{rng.normal():.3f}")
    path.write_text("\n".join(lines))
    x, y = load_table(str(path), label=1)
    assert x.shape == (60, 2) and set(y) == {0.0, 1.0}
    assert main(["demo", "--steps", "20", "--data", str(path), "--label", "1"]) == 0
    assert "42 cases" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "1,2,3\n4,5,6\n7,8,9\n", "a,b\nc,d\n"])
def test_demo_refuses_what_is_no_table_of_two_classes(tmp_path, text, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert main(["demo", "--data", str(path)]) == 1
    assert "demo: " in capsys.readouterr().err
    assert main(["demo", "--data", str(tmp_path / "missing.csv")]) == 1


def test_split_uses_training_statistics_only():
    x, y = simulate(200, 3)
    x_train, y_train, x_test, y_test = split(x, y)
    assert len(x_test) == 60 and len(y_test) == 60 and len(y_train) == 140
    np.testing.assert_allclose(x_train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x_train.std(axis=0), 1)
    assert abs(x_test.mean()) > 1e-6


def test_info_names_what_matters(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("numba", "llvmlite", "folder", "features", "cores"):
        assert word in out


def test_check_passes_and_fails(capsys, monkeypatch):
    assert main(["check", "sin", "multiply"]) == 0
    assert "2 of 2 operations passed" in capsys.readouterr().out
    assert main(["check", "no_such_thing"]) == 1
    assert "no_such_thing" in capsys.readouterr().err

    from tapegrad import testing

    broken = testing.Result("sin", "elementwise", 3, 0.5, "GradientError: wrong")
    monkeypatch.setattr(testing, "check_table", lambda *a, **k: iter([broken]))
    assert main(["check", "sin"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_runs_as_a_module():
    command = [sys.executable, "-m", "tapegrad", "--help"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "demo" in out and "warmup" in out


def test_interrupt_is_quiet(monkeypatch, capsys):
    from tapegrad.cli import info

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupted)
    assert main(["info"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_warmup_shows_each_kernel(monkeypatch, capsys):
    from tapegrad.engine.kernel_table import library

    def warm(dtypes):
        assert dtypes == ("float32", "float64")
        yield from [(0, 2, "sin"), (1, 2, "cos"), (2, 2, "")]

    monkeypatch.setattr(library, "warm", warm)
    assert main(["warmup", "--dtype", "float32", "--dtype", "float64"]) == 0
    out = capsys.readouterr().out
    assert "8/8" in out and "2 kernels ready" in out  # the engine is rehearsed in six parts
