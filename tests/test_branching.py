"""Compiled tapes never lie: branching functions in any order of inputs, against define-by-run and NumPy.

Twenty inputs per function; two hundred with ``TAPEGRAD_HYPOTHESIS=intense``.
"""

import os

import branching
import numpy as np
import pytest

import tapegrad as tg

INPUTS = 200 if os.environ.get("TAPEGRAD_HYPOTHESIS") == "intense" else 20
H = 1e-6
MOST_REJECTED = 0.1  # share of drawn inputs that may lie too close to a kink

pytestmark = pytest.mark.filterwarnings("ignore::tapegrad.GuardWarning")


# --- arguments: arrays and floats in tuples, lists, dictionaries -----------------------------------


def mapped(function, value):
    """Apply ``function`` to every floating-point leaf, in order (of keys, in dictionaries)."""
    if isinstance(value, dict):
        return {key: mapped(function, value[key]) for key in sorted(value)}
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(function, part) for part in value)
    floating = isinstance(value, float) or getattr(value, "dtype", np.dtype(int)).kind == "f"
    return function(value) if floating else value


def leaves(value):
    found = []
    mapped(found.append, value)
    return found


def moved(value, direction):
    """Every floating-point leaf plus its part of ``direction``, one number per element."""
    parts = iter(direction)

    def add(leaf):
        leaf = np.asarray(leaf, float)
        out = leaf + np.reshape([next(parts) for _ in range(leaf.size)], leaf.shape)
        return out if out.ndim else float(out)

    return mapped(add, value)


def flat(value):
    return np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in leaves(value)])


# --- references -----------------------------------------------------------------------------------


def central_differences(case, arguments):
    """Value and derivatives by NumPy; ``None`` where a kink or a jump lies within the step."""

    def value(direction):
        chosen = moved([arguments[k] for k in case.wrt], direction)
        given = list(arguments)
        for k, argument in zip(case.wrt, chosen):
            given[k] = argument
        return float(case.f(np, *given))

    size = flat([arguments[k] for k in case.wrt]).size
    middle, g = value(np.zeros(size)), np.empty(size)
    for k in range(size):
        step = np.zeros(size)
        step[k] = H
        above, below = value(step), value(-step)
        g[k] = (above - below) / (2 * H)
        if abs(above - 2 * middle + below) > 1e-10 * (1 + abs(middle) + abs(g[k])):
            return None
    return middle, g


def define_by_run(case, arguments):
    def leaf(value):
        return tg.tensor(value, requires_grad=True)

    given = [
        mapped(leaf if k in case.wrt else tg.tensor, argument)
        if k in case.wrt
        else tg.tensor(argument)
        if isinstance(argument, np.ndarray)
        else argument
        for k, argument in enumerate(arguments)
    ]
    out = case.f(tg, *given)
    out.backward()
    parts = []
    for k in case.wrt:
        for x in leaves(given[k]):
            parts.append(np.zeros(x.size) if x.grad is None else x.grad.numpy().ravel())
    return out.item(), np.concatenate(parts)


def agree(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    return np.max(np.abs(got - expected)) <= 1e-12 * np.max(np.abs(expected)) + 1e-15


# --- tests ----------------------------------------------------------------------------------------


def drawn(name):
    """Inputs away from kinks, each with its value and central differences."""
    case = branching.CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    found, rejected = [], 0
    while len(found) < INPUTS:
        arguments = case.sample(rng)
        expected = central_differences(case, arguments)
        if expected is None:
            rejected += 1
            assert rejected <= max(3, MOST_REJECTED * INPUTS), f"{name}: too many inputs at kinks"
        else:
            found.append((arguments, expected))
    return case, rng, found


@pytest.mark.parametrize("name", sorted(branching.CASES))
def test_compiled_equals_define_by_run(name):
    case, rng, found = drawn(name)

    def f(*arguments):
        return case.f(tg, *arguments)

    options = {} if case.exact else {"max_traces": 256}
    value = tg.compile(f, **options)
    both = tg.compile(tg.value_and_grad(f, argnums=case.wrt), **options)
    expected = []
    for arguments, (by_numpy, differences) in found:
        reference = define_by_run(case, arguments)
        scale = 1 + abs(by_numpy) + np.max(np.abs(differences))
        assert abs(reference[0] - by_numpy) <= 1e-9 * scale
        assert np.max(np.abs(reference[1] - differences)) <= 1e-4 * scale
        expected.append(reference)

    recorded = {}
    for turn in range(2):  # in the order of drawing, then in another, with all paths known
        order = rng.permutation(INPUTS) if turn else range(INPUTS)
        for k in order:
            arguments, (at_value, at_g) = found[k][0], expected[k]
            got, g = both(*arguments)
            assert agree(got, at_value), f"value at {arguments}: {got!r}, define-by-run {at_value!r}"
            assert agree(flat(g), at_g), f"gradient at {arguments}: {g!r}, define-by-run {at_g!r}"
            assert agree(value(*arguments), at_value)
        recorded[turn] = value.stats().recordings, both.stats().recordings

    for stats in (value.stats(), both.stats()):
        assert stats.recordings > 1 and stats.guard_failures > 0, "one path: nothing was guarded"
        if case.exact:  # every input has a path of its own, and there may be more than are kept
            assert stats.replays + stats.fallbacks >= INPUTS
        else:
            assert stats.recordings < INPUTS
            assert stats.replays >= INPUTS
            assert stats.fallbacks == stats.evicted == 0
    if not case.exact:
        assert recorded[0] == recorded[1], "known paths were recorded again"


def test_the_corpus_has_fifty_functions():
    assert len(branching.CASES) >= 50


def test_a_frozen_path_is_noticed():
    """The comparison has teeth: a function that replays its first path everywhere fails it."""
    case, _, found = drawn("huber")
    wrong = 0
    first = found[0][0][0]
    for (x,), _ in found:
        inside = abs(first) <= 1
        frozen = (0.5 * x * x, x) if inside else (abs(x) - 0.5, np.sign(x))
        value, g = define_by_run(case, (x,))
        wrong += not (agree(frozen[0], value) and agree(frozen[1], g))
    assert wrong > 0
