"""Hypothesis profiles, and a fresh tape for every test."""

import importlib
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tapegrad.tape import Tape, current

COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("ci", max_examples=6, derandomize=True, stateful_step_count=30, **COMMON)
settings.register_profile("dev", max_examples=25, stateful_step_count=50, **COMMON)
settings.register_profile("intense", max_examples=500, stateful_step_count=100, **COMMON)
settings.load_profile(os.environ.get("TAPEGRAD_HYPOTHESIS", "ci"))

CHECKED = 2000  # instructions: longer tapes are not verified after each test


@pytest.fixture(autouse=True)
def tape():
    """A tape of the test's own; fails a test that leaks grad mode or leaves a malformed tape."""
    before = current.tape
    mine = current.tape = Tape()
    yield mine
    after = current.tape
    leaked = []
    if after is not mine:
        leaked.append("another current tape")
    if not mine.grad_enabled:
        leaked.append("disabled gradients")
    if mine.anomaly:
        leaked.append("anomaly mode")
    if mine.locked:
        leaked.append(f"a locked tape ({mine.locked})")
    current.tape = before
    assert not leaked, f"the test leaked {', '.join(leaked)}"
    if len(mine) <= CHECKED:
        mine.check()


@pytest.fixture
def benchmarks():
    """The benchmarks' modules, importable."""
    root = str(Path(__file__).parents[1])
    sys.path.insert(0, root)
    try:
        yield lambda name: importlib.import_module(f"benchmarks.{name}")
    finally:
        sys.path.remove(root)
