"""Every example in the documentation and in the docstrings is run."""

import doctest
import importlib
import inspect
import operator
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tapegrad as tg

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def run_examples(examples: list[doctest.DocTest]) -> None:
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    report: list[str] = []
    for example in examples:
        runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The closing fence of a block would otherwise be taken for output.
    text = re.sub(r"^```\n>>> .*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    parser = doctest.DocTestParser()
    run_examples([parser.get_doctest(text, {}, page.name, str(page), 0)])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python_blocks_are_examples(page):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        assert ">>> " in block or block.startswith("# tapegrad/"), f"a block that no test runs:\n{block}"


def test_adding_an_operation(tmp_path):
    """What the how-to says to append is appended to a copy of the package; its example then holds."""
    text = (ROOT / "docs" / "how-to.md").read_text()
    section = text.split("## Add an operation")[1].split("\n## ")[0]
    assert len(section.splitlines()) < 50, "must fit on one screen"
    shutil.copytree(ROOT / "tapegrad", tmp_path / "tapegrad", ignore=shutil.ignore_patterns("__pycache__"))
    for path, code in re.findall(
        r"^```python\n# (tapegrad/\S+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL
    ):
        with (tmp_path / path).open("a") as file:
            file.write("\n\n" + code)
    example = re.search(r"^```\n(>>> .*?)^```", section, re.MULTILINE | re.DOTALL)
    assert example is not None
    (tmp_path / "example.txt").write_text(example[1])
    command = [sys.executable, "-c", "import doctest; print(doctest.testfile('example.txt', False))"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "failed=0, attempted=3" in run.stdout, run.stdout + run.stderr


def modules() -> list[str]:
    found = pkgutil.walk_packages(tg.__path__, "tapegrad.")
    return ["tapegrad", *(m.name for m in found if not m.name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_docstrings(name):
    module = importlib.import_module(name)
    run_examples([d for d in doctest.DocTestFinder(exclude_empty=True).find(module, name) if d.examples])


# Functions made from rows belong to no module's source: they are looked up in the namespaces.
DERIVED = {
    id(f): f"{space}{n}"
    for space, module in (("special.", tg.special), ("", tg))
    for n, f in vars(module).items()
    if inspect.isfunction(f) and f.__module__ == "tapegrad" and not n.startswith("_")
}


@pytest.mark.parametrize("name", sorted(DERIVED.values()))
def test_derived_docstrings(name):
    function = operator.attrgetter(name)(tg)
    found = doctest.DocTestParser().get_doctest(function.__doc__ or "", {}, name, None, None)
    assert found.examples, f"{name} has no example"
    run_examples([found])
