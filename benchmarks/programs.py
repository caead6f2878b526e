"""What the scalar programs share: a reference without any differentiation, counting, the contest.

A program is written once, ``f(xp, x)`` in Python numbers taken from the array ``x``, and every library runs
the same one: tapegrad compiled, interpreted and lowered to machine code, CasADi as an SX ``Function``, JAX
unrolled, PyTorch define-by-run.  Beside it stand the forms that a JAX user would write instead, with
``lax.scan``.

Compiling thousands of unrolled instructions can take JAX longer than anybody waits, and cannot be
interrupted.  So it is tried in a process of its own first, and left out if that is not done within `BUDGET`.

Run as ``python -m benchmarks.programs MODULE FUNCTION ARGUMENTS X`` to try.
"""

import importlib
import json
import subprocess
import sys

import numpy as np

from benchmarks import peers
from benchmarks.harness import US

BUDGET = 60.0  # seconds for JAX to compile a program unrolled
BOUND, BUFFER = "tapegrad, bound", "casadi, buffer"  # both work on arrays prepared once
NATIVE, NATIVE_BOUND = "tapegrad, native", "tapegrad, native, bound"  # lowered to machine code
CASADI_TARGET = {US: 0.8, NATIVE: 0.2}  # of CasADi's time
BUFFER_TARGET = {BOUND: 0.8, NATIVE_BOUND: 0.2}
JAX_TARGET = {US: 0.2, NATIVE: 0.1}  # of JAX's
TORCH_TARGET = {NATIVE: 0.01}


def contest(session, case, build, arguments, x, forms=None, instead=None, unrolled=True):
    """Compare everybody's value and gradient of ``build(*arguments)`` at ``x``, then time them.

    Parameters
    ----------
    session : Session
    case : str
        Printed above the table.
    build : function of a module
        Returns the program.
    arguments : sequence
        Given to ``build``; numbers.
    x : (n,) numpy.ndarray
        Where to evaluate.
    forms : mapping of str to (str, function, float, mapping or None), optional
        Other forms of the program: by name the library, the program, and how much of its time is allowed.
    instead : mapping of str to callable, optional
        By library a function that returns the program that it runs instead, where constants need converting.
    unrolled : bool
        Whether JAX runs the program as it is, too.
    """
    f, instead = build(*arguments), instead or {}
    libraries = session.libraries(US, "casadi", "jax", "torch")
    contenders = {name: (name, instead.get(name, lambda: f)(), None) for name in libraries}
    if US in libraries:
        contenders[US] = (f"{US}, interpreted", f, None)
        contenders[NATIVE] = (NATIVE, f, None)
        contenders[BOUND] = (f"{US}, interpreted, bound", f, None)
        contenders[NATIVE_BOUND] = (NATIVE_BOUND, f, None)
    if "torch" in libraries:
        contenders["torch"] = ("torch", contenders["torch"][1], TORCH_TARGET)
    if "casadi" in libraries:
        contenders["casadi"] = ("casadi", contenders["casadi"][1], CASADI_TARGET)
        contenders[BUFFER] = (BUFFER, contenders["casadi"][1], BUFFER_TARGET)
    if contenders.pop("jax", None):
        if not unrolled:
            pass
        elif compiles(build, arguments, x):
            contenders["jax unrolled"] = ("jax", f, JAX_TARGET)
        else:
            session.note(case, f"jax unrolled does not compile within {BUDGET:.0f} s")
    contenders.update({name: form for name, form in (forms or {}).items() if form[0] in libraries})
    factories = {
        name: lambda library=library, program=program: peers.compiled(library, program, x)
        for name, (library, program, _) in contenders.items()
    }
    targets = {name: allowed for name, (_, _, allowed) in contenders.items() if allowed is not None}
    operations = count(f, x)
    session.contest(
        f"{case}, {operations} operations",
        factories,
        complex_step(f, x),
        operations=operations,
        targets=targets,
    )


# --- the reference --------------------------------------------------------------------------------


def complex_step(f, x):
    """Value and gradient from evaluations at ``x + ih``: exact to rounding, nothing being subtracted.

    Squire and Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40
    (1998), equation 1.
    """
    h = 1e-100
    g = np.empty_like(x)
    for k in range(x.size):
        moved = x.astype(complex)
        moved[k] += 1j * h
        g[k] = f(np, moved).imag / h
    return f(np, x), g


# --- operations -----------------------------------------------------------------------------------


class Counted:
    """Stands for any number or array; what is done with it is only counted."""

    __array_ufunc__ = None  # arrays leave it to the methods below

    def __init__(self, count):
        self.count = count

    def _operation(self, *others):
        self.count[0] += 1
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _operation
    __truediv__ = __rtruediv__ = __pow__ = __neg__ = __matmul__ = __rmatmul__ = sum = _operation


class CountedFunctions:
    def __getattr__(self, name):
        return lambda x: x._operation()


def count(f, x):
    """Number of operations that ``f`` does, reading its argument's elements aside."""
    total = [0]
    f(CountedFunctions(), [Counted(total)] * x.size)
    return total[0]


# --- JAX's compile time ---------------------------------------------------------------------------


def compiles(build, arguments, x):
    """Whether JAX compiles the program within `BUDGET`."""
    module = build.__module__
    if module == "__main__":
        module = sys.modules["__main__"].__spec__.name
    command = [sys.executable, "-m", "benchmarks.programs", module, build.__name__]
    try:
        subprocess.run(
            [*command, json.dumps(list(arguments)), json.dumps(x.tolist())],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=BUDGET,
        )
    except subprocess.TimeoutExpired:
        return False
    return True


if __name__ == "__main__":
    where, what, given, at = sys.argv[1:]
    tried = getattr(importlib.import_module(where), what)(*json.loads(given))
    peers.compiled("jax", tried, np.array(json.loads(at)))()
