"""The libraries, behind one function: prepare "value and gradient" of an expression.

An expression is written once, ``f(xp, *arrays)`` in the names of ``xp``, and everybody runs the same one.
All of them are used the way their documentation does it, with the value looked at after every evaluation.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import THREADS

PEERS = ("torch", "jax", "casadi", "autograd", "mygrad", "numpy")  # NumPy where no gradient is asked for

COMPILED = "tapegrad, compiled"  # beside "tapegrad", define-by-run


@functools.cache
def available(name: str) -> bool:
    """Whether a library can be imported."""
    try:
        module(name)
    except ImportError:
        return False
    return True


@functools.cache
def module(name: str) -> Any:
    """Import a library and set its number of threads."""
    found = importlib.import_module(name)
    if name == "torch":
        found.set_num_threads(THREADS)
    return found


class Functions:
    """A library's functions under the names that expressions use, found when first asked for."""

    def __init__(self, *homes: str) -> None:
        self._homes = homes  # modules to look in, in this order

    def __getattr__(self, name: str) -> Any:
        for home in self._homes:
            function = getattr(importlib.import_module(home), name, None)
            if function is not None:
                setattr(self, name, function)  # from now on found without this method
                return function
        raise AttributeError(f"{name} is not in {', '.join(self._homes)}")


@functools.cache
def namespace(name: str) -> Functions:
    """The functions of a library."""
    more = {
        "jax": ("jax.numpy", "jax.scipy.special"),
        "autograd": ("autograd.numpy", "autograd.scipy.special"),
    }
    return Functions(*more.get(name, (name,)))


def value_and_grad(
    name: str, f: Callable[..., Any], arrays: Sequence[Any], fixed: Sequence[Any] = ()
) -> Callable[[], tuple[float, tuple[Any, ...]]]:
    """Prepare the value and the gradient of ``f(xp, *arrays, *fixed)`` with respect to ``arrays``.

    Parameters
    ----------
    name : str
        A library: define-by-run, except for ``"jax"``: ``jax.jit``, device arrays in, waited for, left on
        the device.  ``"tapegrad, compiled"``: `tapegrad.compile`, NumPy in and NumPy out.
    f : callable
        Returns a scalar.
    arrays, fixed : sequences of numpy.ndarray
        Converted (copied) once, here.

    Returns
    -------
    callable
        One evaluation: returns the value as a float, and one gradient per array.
    """
    return _PREPARE[name](f, tuple(arrays), tuple(fixed))


def value(name: str, f: Callable[..., Any], arrays: Sequence[Any]) -> Callable[[], float]:
    """Prepare the value alone, no gradient being asked for; names as in `value_and_grad`, and ``"numpy"``."""
    library = name.split(",")[0]
    found, xp = module(library), namespace(library)
    if name == "numpy":
        inputs = [a.copy() for a in arrays]
        return lambda: float(f(xp, *inputs))
    if name == COMPILED:
        inputs, replay = [a.copy() for a in arrays], found.compile(lambda *xs: f(xp, *xs))
        return lambda: float(replay(*inputs))
    if name == "jax":
        inputs, both = [found.numpy.asarray(a) for a in arrays], found.jit(lambda *xs: f(xp, *xs))
        return lambda: float(both(*inputs))
    inputs = [found.tensor(a) for a in arrays]

    def run():
        with found.no_grad():
            return f(xp, *inputs).item()

    return run


def compiled(name: str, f: Callable[..., Any], x: Any) -> Callable[[], tuple[Any, Any]]:
    """Prepare the value and the gradient of ``f(xp, x)``, recorded or compiled once and then only evaluated.

    Parameters
    ----------
    name : str
        ``"tapegrad"``: `tapegrad.compile`, NumPy in and NumPy out.  ``"tapegrad, bound"``: its ``bind`` on
        arrays prepared once; with ``", interpreted"`` or ``", native"`` in that tier from the beginning.
        ``"jax"``: ``jax.jit``, device arrays in, waited for, left on the device.
        ``"jax, NumPy in and out"``: the same with conversions.  ``"casadi"``: an SX ``Function``, NumPy in
        and out.  ``"casadi, buffer"``: through ``Function.buffer()`` on memory prepared once, the fastest
        call that its documentation shows.  ``"torch"``: define-by-run, there being nothing compiled that
        suits scalar programs.
    f : callable
        Returns a scalar.
    x : numpy.ndarray
        Converted (copied) once, here.

    Returns
    -------
    callable
        One evaluation: returns the value and the gradient.
    """
    return _COMPILE[name](f, x)


def eager(library, xp, f, arrays, fixed):
    """Value and gradient define-by-run, in a library with PyTorch's interface."""
    leaves = [library.tensor(a, requires_grad=True) for a in arrays]
    rest = [library.tensor(a) for a in fixed]

    def run():
        for x in leaves:
            x.grad = None
        value = f(xp, *leaves, *rest)
        value.backward()
        return value.item(), tuple(x.grad for x in leaves)

    return run


def _eager(name):
    return lambda f, arrays, fixed: eager(module(name), namespace(name), f, arrays, fixed)


def _tapegrad_compiled(f, arrays, fixed):
    tg, xp = module("tapegrad"), namespace("tapegrad")
    both = tg.compile(tg.value_and_grad(lambda *xs: f(xp, *xs), argnums=tuple(range(len(arrays)))))
    inputs = [a.copy() for a in (*arrays, *fixed)]

    def run():
        value, grads = both(*inputs)
        return float(value), grads

    return run


def _jax(f, arrays, fixed):
    jax = module("jax")
    xp = namespace("jax")
    inputs = [jax.numpy.asarray(a) for a in (*arrays, *fixed)]
    both = jax.jit(jax.value_and_grad(lambda *xs: f(xp, *xs), argnums=tuple(range(len(arrays)))))
    both.lower(*inputs).compile()  # here, so that peak memory is the evaluation's, not the compiler's

    def run():
        value, grads = jax.block_until_ready(both(*inputs))
        return float(value), grads

    return run


def _autograd(f, arrays, fixed):
    autograd = module("autograd")
    xp = namespace("autograd")
    inputs = [a.copy() for a in arrays]
    rest = [a.copy() for a in fixed]
    if len(arrays) == 1:
        one = autograd.value_and_grad(lambda x: f(xp, x, *rest))

        def run():
            value, g = one(inputs[0])
            return float(value), (g,)

        return run
    several = autograd.value_and_grad(lambda xs: f(xp, *xs, *rest))

    def run_several():
        value, grads = several(tuple(inputs))
        return float(value), tuple(grads)

    return run_several


def _mygrad(f, arrays, fixed):
    mygrad = module("mygrad")
    xp = namespace("mygrad")
    leaves = [mygrad.tensor(a) for a in arrays]
    rest = [a.copy() for a in fixed]

    def run():
        value = f(xp, *leaves, *rest)
        value.backward()
        grads = tuple(x.grad for x in leaves)
        for x in leaves:
            x.null_grad()
        return value.item(), grads

    return run


_PREPARE = {
    "tapegrad": _eager("tapegrad"),
    COMPILED: _tapegrad_compiled,
    "torch": _eager("torch"),
    "jax": _jax,
    "autograd": _autograd,
    "mygrad": _mygrad,
}


def _compiled_tapegrad(f, x, tier="auto"):
    tg, xp = module("tapegrad"), namespace("tapegrad")
    both = tg.compile(tg.value_and_grad(lambda x: f(xp, x)), tier=tier)
    x = x.copy()
    return lambda: both(x)


def _compiled_jax(f, x):
    jax, xp = module("jax"), namespace("jax")
    both, wait = jax.jit(jax.value_and_grad(lambda x: f(xp, x))), jax.block_until_ready
    x = jax.numpy.asarray(x)
    return lambda: wait(both(x))


def _compiled_jax_numpy(f, x):
    import numpy as np

    jax, xp = module("jax"), namespace("jax")
    both = jax.jit(jax.value_and_grad(lambda x: f(xp, x)))
    x = x.copy()

    def run():
        value, g = both(x)
        return float(value), np.asarray(g)

    return run


def _bound_tapegrad(f, x, tier="auto"):
    import numpy as np

    tg, xp = module("tapegrad"), namespace("tapegrad")
    both = tg.compile(tg.value_and_grad(lambda x: f(xp, x)), tier=tier)
    return both.bind(x.copy(), out=(np.empty(()), np.empty_like(x)))


def _casadi_function(f, x):
    casadi, xp = module("casadi"), namespace("casadi")
    symbol = casadi.SX.sym("x", x.size)
    value = f(xp, symbol)
    return casadi.Function("both", [symbol], [value, casadi.gradient(value, symbol)])


def _compiled_casadi(f, x):
    import numpy as np

    both, x = _casadi_function(f, x), x.copy()

    def run():
        value, g = both(x)
        return float(value), np.asarray(g).reshape(-1)

    return run


def _buffered_casadi(f, x):
    import numpy as np

    both = _casadi_function(f, x)
    x, value, g = x.copy(), np.zeros(()), np.zeros(x.shape)
    buffer, evaluate = both.buffer()
    buffer.set_arg(0, memoryview(x))
    buffer.set_res(0, memoryview(value))
    buffer.set_res(1, memoryview(g))

    def run():
        evaluate()
        return value, g

    run.alive = both, buffer, x  # evaluate() goes by their addresses alone
    return run


def _compiled_torch(f, x):
    torch, xp = module("torch"), namespace("torch")
    x = torch.tensor(x, requires_grad=True)

    def run():
        x.grad = None
        value = f(xp, x)
        value.backward()
        return value.item(), x.grad

    return run


_COMPILE = {
    "tapegrad": _compiled_tapegrad,
    "tapegrad, interpreted": functools.partial(_compiled_tapegrad, tier="interpret"),
    "tapegrad, native": functools.partial(_compiled_tapegrad, tier="native"),
    "jax": _compiled_jax,
    "jax, NumPy in and out": _compiled_jax_numpy,
    "casadi": _compiled_casadi,
    "torch": _compiled_torch,
    "tapegrad, bound": _bound_tapegrad,
    "tapegrad, interpreted, bound": functools.partial(_bound_tapegrad, tier="interpret"),
    "tapegrad, native, bound": functools.partial(_bound_tapegrad, tier="native"),
    "casadi, buffer": _buffered_casadi,
}
