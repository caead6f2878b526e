"""What the array programs share: contenders, and a function's value and gradient in each library.

Every library runs the same function ``f(xp, *arrays, *fixed)``, where ``xp`` has the few functions that are
called differently from library to library under one name.  tapegrad takes part twice: compiled and
define-by-run.
"""

from benchmarks import peers
from benchmarks.harness import US

EAGER = "tapegrad, define-by-run"


class TapegradFunctions(peers.Functions):
    def __init__(self):
        super().__init__("tapegrad", "tapegrad.linalg")

    def solve_lower(self, a, b):
        return self.solve_triangular(a, b, lower=True)


class TorchFunctions(peers.Functions):
    def __init__(self):
        super().__init__("torch", "torch.linalg")

    def __getattr__(self, name):
        if name == "cholesky":  # torch.cholesky is on its way out
            return peers.module("torch").linalg.cholesky
        return super().__getattr__(name)

    def solve_lower(self, a, b):
        return peers.module("torch").linalg.solve_triangular(a, b, upper=False)


class JaxFunctions(peers.Functions):
    def __init__(self):
        super().__init__("jax.numpy", "jax.nn", "jax.scipy.special", "jax.numpy.linalg")

    def solve_lower(self, a, b):
        import jax

        return jax.scipy.linalg.solve_triangular(a, b, lower=True)


FUNCTIONS = {"tapegrad": TapegradFunctions(), "torch": TorchFunctions(), "jax": JaxFunctions()}


def prepare(name, f, arrays, fixed=()):
    """One evaluation of ``f``'s value and its gradient with respect to ``arrays``, ready to be called.

    Parameters
    ----------
    name : str
        ``"tapegrad"``: compiled, NumPy in and out.  ``EAGER``: define-by-run.  Others: libraries, JAX jitted.
    f : callable
        ``f(xp, *arrays, *fixed)`` returns a scalar.
    arrays, fixed : sequences of numpy.ndarray
        Copied once, here.
    """
    library = name.split(",")[0]
    xp = FUNCTIONS[library]
    if name == US:
        return _compiled(f, xp, arrays, fixed)
    if library == "jax":
        return _jax(f, xp, arrays, fixed)
    return peers.eager(peers.module(library), xp, f, arrays, fixed)


def _compiled(f, xp, arrays, fixed):
    tg = peers.module("tapegrad")
    arrays, fixed = [a.copy() for a in arrays], [a.copy() for a in fixed]
    places = tuple(range(len(arrays)))
    both = tg.compile(tg.value_and_grad(lambda *xs: f(xp, *xs, *fixed), argnums=places))
    return lambda: both(*arrays)


def _jax(f, xp, arrays, fixed):
    jax = peers.module("jax")
    arrays, fixed = [[jax.numpy.asarray(a) for a in given] for given in (arrays, fixed)]
    places = tuple(range(len(arrays)))
    both = jax.jit(
        jax.value_and_grad(lambda *xs: f(xp, *xs[: len(places)], *xs[len(places) :]), argnums=places)
    )

    def run():
        value, g = jax.block_until_ready(both(*arrays, *fixed))
        return float(value), g

    return run


def contest(session, case, f, arrays, fixed, reference, targets, forms=None, rtol=1e-9, more=None):
    """Compare everybody's value and gradient of ``f``, then time them.

    Parameters
    ----------
    targets : mapping of str to float
        Per library how much of its time tapegrad, compiled, may take.
    forms : mapping of str to callable, optional
        By library the function that it runs instead (``lax.scan`` in place of a loop).
    more : mapping of str to callable, optional
        Further contenders, with what prepares them; named after their library.
    """
    forms = forms or {}
    names = session.libraries(US, "torch", "jax")
    names.insert(1, EAGER)
    factories = {name: lambda name=name: prepare(name, forms.get(name, f), arrays, fixed) for name in names}
    for name, factory in (more or {}).items():
        if name.split(",")[0] in names:
            factories[name] = factory
    return session.contest(case, factories, reference, rtol=rtol, targets=targets)
