"""Time per element of the elementary functions, in cache, in float64 and float32."""

import sys

import numpy as np

from benchmarks.harness import US, main
from benchmarks.peers import module, namespace

# name: (where arguments lie, the name in NumPy or SciPy, in PyTorch, in JAX); None: it has none
FUNCTIONS = {
    "exp": ((-10.0, 10.0), "exp", "exp", "exp"),
    "expm1": ((-3.0, 3.0), "expm1", "expm1", "expm1"),
    "exp2": ((-10.0, 10.0), "exp2", "exp2", "exp2"),
    "log": ((0.01, 100.0), "log", "log", "log"),
    "log1p": ((-0.9, 10.0), "log1p", "log1p", "log1p"),
    "log2": ((0.01, 100.0), "log2", "log2", "log2"),
    "log10": ((0.01, 100.0), "log10", "log10", "log10"),
    "sin": ((-10.0, 10.0), "sin", "sin", "sin"),
    "cos": ((-10.0, 10.0), "cos", "cos", "cos"),
    "tan": ((-10.0, 10.0), "tan", "tan", "tan"),
    "asin": ((-1.0, 1.0), "arcsin", "asin", "arcsin"),
    "acos": ((-1.0, 1.0), "arccos", "acos", "arccos"),
    "atan": ((-5.0, 5.0), "arctan", "atan", "arctan"),
    "sinh": ((-5.0, 5.0), "sinh", "sinh", "sinh"),
    "cosh": ((-5.0, 5.0), "cosh", "cosh", "cosh"),
    "tanh": ((-5.0, 5.0), "tanh", "tanh", "tanh"),
    "asinh": ((-5.0, 5.0), "arcsinh", "asinh", "arcsinh"),
    "acosh": ((1.0, 10.0), "arccosh", "acosh", "arccosh"),
    "atanh": ((-0.99, 0.99), "arctanh", "atanh", "arctanh"),
    "erf": ((-3.0, 3.0), "erf", "erf", "erf"),
    "erfc": ((-3.0, 6.0), "erfc", "erfc", "erfc"),
    "sigmoid": ((-10.0, 10.0), "expit", "sigmoid", "expit"),
    "softplus": ((-10.0, 10.0), None, None, "softplus"),
    "cbrt": ((-10.0, 10.0), "cbrt", None, "cbrt"),
    "lgamma": ((0.1, 20.0), "gammaln", "lgamma", "gammaln"),
    "digamma": ((0.1, 20.0), "psi", "digamma", "digamma"),
    "power": ((0.1, 10.0), "power", "pow", "power"),
    "atan2": ((-5.0, 5.0), "arctan2", "atan2", "arctan2"),
    "hypot": ((-5.0, 5.0), "hypot", "hypot", "hypot"),
}
PAIRS = ("power", "atan2", "hypot")
RTOL = {"float64": 1e-12, "float32": 2e-5}


def ufunc(name):
    """NumPy's or SciPy's function."""
    import scipy.special

    return getattr(np, name, None) or getattr(scipy.special, name)


def runner(library, name, arrays):
    """Prepare one evaluation, results written to memory prepared once where the library can."""
    _, theirs, torchs, jaxs = FUNCTIONS[name]
    if library == US:
        tg = module(US)
        function = getattr(tg, name)
        if len(arrays) == 1:
            compiled = tg.compile(lambda x: function(x))
        else:
            compiled = tg.compile(lambda x, y: function(x, y))
        return compiled.bind(*[a.copy() for a in arrays], out=np.empty_like(arrays[0]))
    if library == "numpy":
        function, out = ufunc(theirs), np.empty_like(arrays[0])
        return lambda: function(*arrays, out=out)
    if library == "torch":
        torch = module("torch")
        function = getattr(torch, torchs)
        xs = [torch.tensor(a) for a in arrays]
        out = torch.empty_like(xs[0])
        return lambda: function(*xs, out=out)
    jax = module("jax")
    function = jax.nn.softplus if name == "softplus" else getattr(namespace("jax"), jaxs)
    compiled, wait = jax.jit(lambda *xs: function(*xs)), jax.block_until_ready
    xs = [jax.numpy.asarray(a) for a in arrays]
    return lambda: wait(compiled(*xs))


def reference(name, arrays):
    """The answer in float64."""
    exact = [a.astype(np.float64) for a in arrays]
    theirs = FUNCTIONS[name][1]
    return ufunc(theirs)(*exact) if theirs else np.logaddexp(exact[0], 0.0)


def run(session):
    size = session.pick(10_000, 100)
    rng = np.random.default_rng(0)
    for dtype in ("float64", "float32"):
        contests = []
        for name, (interval, theirs, torchs, _) in FUNCTIONS.items():
            if session.smoke and name not in ("exp", "sin", "power", "lgamma"):
                continue  # the tests compile the others
            arrays = [rng.uniform(*interval, size).astype(dtype) for _ in range(2 if name in PAIRS else 1)]
            libraries = session.libraries(US, "torch", "jax")
            if not torchs and "torch" in libraries:
                libraries.remove("torch")
            if theirs and not session.smoke:
                libraries.insert(1, "numpy")
            factories = {n: lambda n=n, name=name, arrays=arrays: runner(n, name, arrays) for n in libraries}
            answer = reference(name, arrays)
            contests.append(
                session.contest(f"{name}, {dtype}", factories, answer, operations=size, rtol=RTOL[dtype])
            )
        session.geometric_mean(f"all functions, {dtype}", contests)


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["functions"]))
