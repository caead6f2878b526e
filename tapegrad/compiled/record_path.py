"""Recording one path through a function."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.compiled.arguments import Static, is_data, line_of
from tapegrad.compiled.captures import Environment, attach_sites, random_line
from tapegrad.compiled.executed import ExecutedLines
from tapegrad.compiled.paths import Path
from tapegrad.compiled.recording import ARGUMENT, GuardWarning, Recording, dependence, source_line
from tapegrad.tape import current
from tapegrad.tensor import Tensor
from tapegrad.trace import VALUE, Trace, where
from tapegrad.tree import Structure, flatten

__all__ = ["Unrecordable", "record_path", "warn_of_exact_values"]

CONSTANT_RESULTS = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)


class Unrecordable(Exception):
    """The call cannot be replayed; the function itself answers it."""


def record_path(
    name: str,
    function: Callable,
    environment: Environment,
    leaves: list[Any],
    structure: Structure,
    arrays: list[np.ndarray],
) -> Path:
    """Call a function on placeholders and make a path of what it does.

    Parameters
    ----------
    name : str
        What messages call the function.
    function : callable
    environment : Environment
        What the function captures, as it is now.
    leaves : list
        The leaves of ``(args, kwargs)``, whose nesting is ``structure``.
    arrays : list of ndarray
        Of those that are data, the values.

    Raises
    ------
    Unrecordable
        If the function swallowed an error that a replay would not meet.
    RuntimeError, TypeError
        As `compile` says; and whatever the function raises.
    """
    from tapegrad.program.program import build

    recording = Recording(name, current.tape.grad_enabled)
    copies = environment.copies()
    state = _random_state(environment)
    executed = ExecutedLines(environment.codes if copies else ())
    with recording, executed:
        outputs, shape, results, fixed = _run(recording, function, leaves, structure, arrays)
    if _random_state(environment) != state:
        _refuse_random(name, environment)
    trace = recording.finish(outputs)
    if recording.broken is not None:
        raise Unrecordable
    environment.absorb_growth()
    path = Path(trace, build(trace), shape, results, fixed)
    path.environment, path.moves = environment, environment.moves
    path.contents = attach_sites(path.captures, environment, copies, executed.lines)
    return path


def _run(
    recording: Recording,
    function: Callable,
    leaves: list[Any],
    structure: Structure,
    arrays: list[np.ndarray],
) -> tuple[list[Tensor], Structure, list[int], list[Any]]:
    """Call the function; take its result apart."""
    data = iter(arrays)
    made = [
        x.value if x.__class__ is Static else recording.argument(next(data)) if is_data(x) else x
        for x in leaves
    ]
    args, kwargs = structure.unflatten(made)
    made.clear()  # whoever holds a tensor afterwards is not of this recording
    found, shape = flatten(function(*args, **kwargs), sort=False)
    outputs: list[Tensor] = []
    results: list[int] = []
    fixed: list[Any] = []
    for leaf in found:
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc":
            leaf = recording.capture(leaf)
        if isinstance(leaf, Tensor):
            results.append(len(outputs))
            fixed.append(None)
            outputs.append(leaf)
        elif isinstance(leaf, CONSTANT_RESULTS):
            results.append(-1)
            fixed.append(leaf)
        else:
            raise TypeError(
                f"compile: {recording.name} ({line_of(function)}) returned a {type(leaf).__name__}; return "
                "tensors, arrays, numbers, strings or containers of these"
            )
    return outputs, shape, results, fixed


def warn_of_exact_values(name: str, trace: Trace, warned: set[tuple[str, int]]) -> None:
    """Warn, once per source line, of guards on exact floating values that depend on arguments."""
    exact = [g for g in trace.guards if g.kind == VALUE and trace.spec(g.slot).differentiable]
    if not exact:
        return
    depends = dependence(trace.code, set(trace.inputs), {slot for slot, _ in trace.captures})
    for g in exact:
        line = source_line(g.place)
        if depends[g.slot] == ARGUMENT and line not in warned:
            warned.add(line)
            warnings.warn_explicit(
                f"compile: {name} turns a floating-point value into a Python or NumPy one at {where(g.place)}"
                "; what was recorded holds for exactly this value, and any other is recorded anew. Keep it a "
                "tensor, use tg.where instead of branching on it, or make it a static argument",
                GuardWarning,
                *line,
            )


# --- random numbers -------------------------------------------------------------------------------


def _random_state(environment: Environment) -> tuple:
    states = [
        g.bit_generator.state if hasattr(g, "bit_generator") else g.get_state()
        for g in environment.generators
    ]
    own = tuple(map(repr, states))
    legacy: Any = np.random.get_state()
    return random.getstate(), legacy[1].tobytes(), legacy[2:], own


def _refuse_random(name: str, environment: Environment) -> None:
    line = random_line(environment)
    if line is None and threading.active_count() > 1:
        return  # another thread may have drawn
    at = f" at {line}" if line else ""
    raise RuntimeError(
        f"compile: {name} draws random numbers{at}; a replay would repeat the same ones. Draw outside of the "
        "function and pass the numbers as an argument"
    )
