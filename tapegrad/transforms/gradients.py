"""Gradients and products with Jacobians: ``grad``, ``vjp``, ``jvp`` and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.tensor import Tensor, tensor_from_array
from tapegrad.transforms.level import Level, derive, inner_function, of_compiled, pick, seeds_like
from tapegrad.tree import flatten

__all__ = ["elementwise_grad", "grad", "hvp", "jvp", "value_and_grad", "vjp"]


@of_compiled
def value_and_grad(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that gives the value of ``f`` and its gradient.

    Parameters
    ----------
    f : callable
        Function of arrays, or of nested tuples, lists, dicts and dataclasses of arrays.  It is called with
        Tensors in place of the arguments that are differentiated, and returns a single number.
    argnums : int or tuple of int
        Which positional arguments to differentiate by.
    has_aux : bool
        ``f`` returns ``(value, aux)``, of which only the value is differentiated.

    Returns
    -------
    callable
        Takes the arguments of ``f``; returns ``(value, gradient)``, or ``((value, aux), gradient)``.  The
        gradient is nested like the argument (a tuple of such for a tuple of ``argnums``), with its shapes
        and dtypes.  Given arrays and floats it returns arrays and floats; given Tensors it returns Tensors.

    Raises
    ------
    TypeError
        When called: if ``f`` does not return a single number, or an argument is not floating point.
    ValueError
        When called: if there is no such argument.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
    (5.0, array([2., 4.]))
    """

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        level = Level("value_and_grad", f, args, kwargs)
        value, aux, gradient = _gradient(level, argnums, has_aux)
        (value,) = level.hand_out([value], own=False)
        return ((value, level.hand_out_tree(aux)), gradient) if has_aux else (value, gradient)

    return derive(f, "value_and_grad", value_and_gradient)


@of_compiled
def grad(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that gives the gradient of ``f``.

    Parameters
    ----------
    f, argnums, has_aux
        As for `value_and_grad`.

    Returns
    -------
    callable
        Takes the arguments of ``f``; returns the gradient, or ``(gradient, aux)``.

    Raises
    ------
    TypeError, ValueError
        As for `value_and_grad`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.grad(tg.sin)(0.0)
    1.0
    >>> tg.grad(tg.grad(lambda x: x**3))(2.0)
    12.0
    """

    def gradient(*args: Any, **kwargs: Any) -> Any:
        level = Level("grad", f, args, kwargs)
        _, aux, found = _gradient(level, argnums, has_aux)
        return (found, level.hand_out_tree(aux)) if has_aux else found

    return derive(f, "grad", gradient)


def _gradient(level: Level, argnums: Any, has_aux: bool) -> tuple[Tensor, Any, Any]:
    level.differentiate(pick(level.name, argnums, len(level.args)), plain=True)
    out, aux = level.with_aux(has_aux)
    value = level.scalar(out)
    found = level.cotangents([value], [None])
    filled = [level.zeros(t) if g is None else g for g, t in zip(found, level.leaves)]
    return value, aux, level.arrange(level.hand_out(filled), argnums)


@of_compiled
def elementwise_grad(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """A function that gives the gradient of the sum of ``f``'s result.

    Where each element of the result depends on one element of the argument only, that is the derivative
    element by element: a function of a number, applied to an array, gives its derivative at each.

    Parameters
    ----------
    f : callable
        Function of arrays (nested as for `value_and_grad`) that returns one array.
    argnums : int or tuple of int
        Which positional arguments to differentiate by.

    Returns
    -------
    callable
        Takes the arguments of ``f``; returns an array of the argument's shape and dtype.

    Raises
    ------
    TypeError
        When called: if ``f`` does not return one array, or an argument is not floating point.
    ValueError
        When called: if there is no such argument.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.elementwise_grad(lambda x: x**3)(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """

    def gradient(*args: Any, **kwargs: Any) -> Any:
        level = Level("elementwise_grad", f, args, kwargs)
        level.differentiate(pick(level.name, argnums, len(level.args)))
        out = level.output(level.call())
        ones = tensor_from_array(np.ones(out._spec.shape, out._spec.dtype))
        found = level.cotangents([out], [ones])
        filled = [level.zeros(t) if g is None else g for g, t in zip(found, level.leaves)]
        return level.arrange(level.hand_out(filled), argnums)

    return derive(f, "elementwise_grad", gradient)


# --- products with Jacobians ----------------------------------------------------------------------


def vjp(f: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """Run ``f`` and give the function that multiplies vectors by its transposed Jacobian.

    Parameters
    ----------
    f : callable
        Function of the primals; its result may be nested.
    *primals
        Arrays, floats, Tensors or nested containers of them.
    has_aux : bool
        ``f`` returns ``(out, aux)``.

    Returns
    -------
    out
        The result.
    vjp_fn : callable
        ``vjp_fn(g)``, with ``g`` nested and shaped like ``out``, is a tuple of cotangents, one per primal.
        It may be called any number of times.  Cotangents have the shapes and dtypes of the primals.
    aux
        With ``has_aux``.

    Raises
    ------
    TypeError
        If a primal is not floating point, or ``g`` is nested in another way.
    ValueError
        If a shape differs.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> out, vjp_fn = tg.vjp(lambda x, y: x * y, np.array([1.0, 2.0]), 3.0)
    >>> out
    array([3., 6.])
    >>> vjp_fn(np.array([1.0, 10.0]))
    (array([ 3., 30.]), 21.0)
    """
    f = inner_function("vjp", f)
    level = Level("vjp", f, primals, {})
    level.differentiate(tuple(range(len(primals))))
    out, aux = level.with_aux(has_aux)
    outs, structure = level.outputs(out)

    def vjp_fn(g: Any) -> tuple:
        """Cotangents of the primals for a cotangent ``g`` of the result."""
        again = Level("vjp_fn", f, [g], {})
        again.tensors_out |= level.tensors_out
        again.tape, again.leaves, again.structures = level.tape, level.leaves, level.structures
        seeds = seeds_like(again, g, outs, structure, "the cotangents")
        found = again.cotangents(outs, seeds, retain=True)
        filled = [again.zeros(t) if c is None else c for c, t in zip(found, level.leaves)]
        return again.arrange(again.hand_out(filled), ())

    handed = structure.unflatten(level.hand_out(outs, own=False))
    return (handed, vjp_fn, level.hand_out_tree(aux)) if has_aux else (handed, vjp_fn)


def jvp(f: Callable, primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> tuple:
    """Run ``f`` and multiply its Jacobian by a vector, in one forward sweep.

    Parameters
    ----------
    f : callable
        Function of the primals; its result may be nested.
    primals, tangents : tuple or list
        As many of each, nested and shaped alike.
    has_aux : bool
        ``f`` returns ``(out, aux)``.

    Returns
    -------
    out
        The result.
    tangent_out
        Its derivative along ``tangents``, nested and shaped like ``out``, and of its dtypes.
    aux
        With ``has_aux``.

    Raises
    ------
    TypeError
        If a primal is not floating point, or tangents are nested in another way.
    ValueError
        If a shape differs.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    (6.0, 23.0)
    """
    f = inner_function("jvp", f)
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"jvp: {what} must be a tuple or a list, not {type(given).__name__}")
    level = Level("jvp", f, primals, {})
    level.tensors_out |= any(isinstance(t, Tensor) for t in flatten(tangents)[0])
    level.differentiate(tuple(range(len(primals))))
    given = seeds_like(level, tuple(tangents), level.leaves, flatten(tuple(primals))[1], "tangents")
    out, aux = level.with_aux(has_aux)
    outs, structure = level.outputs(out)
    found = level.tangents(given, outs)
    filled = [level.zeros(o) if t is None else t for t, o in zip(found, outs)]
    tangent_out = structure.unflatten(level.hand_out(filled))
    handed = structure.unflatten(level.hand_out(outs, own=False))
    return (handed, tangent_out, level.hand_out_tree(aux)) if has_aux else (handed, tangent_out)


def hvp(f: Callable, x: Any, v: Any) -> Any:
    """The product of the Hessian of ``f`` at ``x`` with ``v``, without forming the Hessian.

    One forward sweep over the reverse sweep: a small multiple of the cost of ``f``.

    Parameters
    ----------
    f : callable
        Function of one (nested) argument that returns a single number.
    x, v
        Arrays, floats or Tensors, nested and shaped alike.

    Returns
    -------
    Arrays, floats or Tensors, nested and shaped like ``x``.

    Raises
    ------
    TypeError, ValueError
        As `jvp` and `grad`.

    Notes
    -----
    ``H v`` is the derivative of the gradient along ``v``: B. A. Pearlmutter, Fast exact multiplication by the
    Hessian, Neural Computation 6 (1994).

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    return jvp(grad(inner_function("hvp", f)), (x,), (v,))[1]
