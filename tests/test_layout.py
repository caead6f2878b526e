"""Rules about the project itself: who may import what, and facts that stand in two places."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tapegrad as tg

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "tapegrad").rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_numba_stays_behind_jit(path):
    inside = path.relative_to(ROOT / "tapegrad").as_posix()
    behind = ("_compile.py", "_inference.py", "_lowering.py", "_intrinsics.py", "_machine.py", "_jit.py")
    if inside in behind or inside.startswith(("engine/", "program/")):
        return
    assert not imports(path) & {"numba", "llvmlite"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_modules_say_what_they_are(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_import_is_light():
    code = (
        "import sys, tapegrad; "
        "print([m for m in ('numba', 'scipy', 'rich', 'hypothesis') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_version_stands_in_both_places():
    stated = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert stated is not None and stated[1] == tg.__version__


def test_ci_runs_the_command_of_the_readme():
    commands = re.findall(r"^```\n(python3 -m venv .*)\n```", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text()


def test_links_of_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
