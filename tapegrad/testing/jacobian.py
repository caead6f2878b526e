"""Full Jacobians by central differences, and PyTorch's form of the check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.ops.table import ns
from tapegrad.testing.checks import STEP, GradientError, as_value, floating, gradients, is_tensor, to_array

__all__ = ["gradcheck", "gradgradcheck", "numeric_jacobian"]


def numeric_jacobian(f: Callable, args: Sequence[Any], argnum: int = 0, eps: float = STEP) -> np.ndarray:
    """Jacobian of ``f`` by central differences.

    Parameters
    ----------
    f : callable
        Function of arrays that returns an array (or tensors, for a function of tensors).
    args : sequence of array_like
        Where to take it.
    argnum : int
        The argument to differentiate with respect to; it is perturbed in float64.
    eps : float
        Absolute step.

    Returns
    -------
    ndarray, shape ``out.shape + args[argnum].shape``

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.testing.numeric_jacobian(lambda x: x ** 2, [np.array([1.0, 2.0])]).round(6)
    array([[2., 0.],
           [0., 4.]])
    """
    values = [np.asarray(as_value(a)) for a in args]
    x = values[argnum].astype(np.float64)
    columns = []
    for i in range(x.size):
        moved = []
        for sign in (1.0, -1.0):
            changed = x.copy()
            changed.flat[i] += sign * eps
            out = f(*values[:argnum], changed, *values[argnum + 1 :])
            moved.append(to_array(out) if is_tensor(out) else np.asarray(out))
        width = 2 * eps
        columns.append((moved[0] - moved[1]) / width)
    if not columns:
        out = f(*values)
        return np.zeros(out.shape + x.shape)
    return np.stack(columns, axis=-1).reshape(columns[0].shape + x.shape)


def gradcheck(
    func: Callable,
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """Compare full Jacobians from the reverse sweep with central differences, as PyTorch does.

    Parameters
    ----------
    func : callable
        Function of tensors that returns a tensor or a tuple of tensors.
    inputs : Tensor or sequence
        Arguments.  Those that require grad are checked and must be float64.
    eps : float
        Step of the differences.
    atol, rtol : float
        Tolerances.
    raise_exception : bool
        Return ``False`` instead of raising if the check fails.
    nondet_tol : float
        How much two runs of the same reverse sweep may differ.

    Returns
    -------
    bool
        ``True`` if all derivatives agree.

    Raises
    ------
    GradientError
        If a derivative is wrong.
    ValueError
        If no input requires grad, or one that does is not float64.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.testing.gradcheck(tg.sin, tg.tensor([0.5, 1.0], requires_grad=True))
    True
    """
    given = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    checked = [k for k, t in enumerate(given) if is_tensor(t) and t.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, "
            "but none of them have requires_grad=True."
        )
    for k in checked:
        if given[k].dtype != np.float64:
            raise ValueError(
                f"gradcheck: input {k} requires grad and has dtype {given[k].dtype}; "
                "central differences need float64"
            )
    try:
        for k in checked:
            _check_jacobian(func, given, k, eps, atol, rtol, nondet_tol)
    except GradientError:
        if raise_exception:
            raise
        return False
    return True


def _check_jacobian(
    func: Callable, given: list, k: int, eps: float, atol: float, rtol: float, nondet_tol: float
) -> None:
    values = [to_array(t) if is_tensor(t) else t for t in given]

    def evaluate(x: np.ndarray) -> tuple[list, list]:
        args = [
            ns.tensor(x if i == k else v, requires_grad=given[i].requires_grad)
            if isinstance(v, np.ndarray)
            else v
            for i, v in enumerate(values)
        ]
        return args, floating(func(*args))

    n_outs = len(evaluate(values[k])[1])
    for j in range(n_outs):
        numeric = numeric_jacobian(lambda x, j=j: evaluate(x)[1][j], [values[k]], 0, eps)
        analytic = np.zeros_like(numeric)
        args, outs = evaluate(values[k])
        for position in np.ndindex(outs[j].shape):
            weight = np.zeros(outs[j].shape)
            weight[position] = 1.0
            runs = []
            for _ in range(2):
                g = None
                if outs[j].requires_grad:
                    (g,) = ns.autograd.grad(
                        [outs[j]], [args[k]], [ns.tensor(weight)], retain_graph=True, allow_unused=True
                    )
                runs.append(np.zeros(values[k].shape) if g is None else to_array(g))
            analytic[position] = runs[0]
            if not np.all(np.abs(runs[0] - runs[1]) <= nondet_tol) and not np.isnan(runs[0]).any():
                at = np.unravel_index(int(np.abs(runs[0] - runs[1]).argmax()), runs[0].shape)
                where = tuple(int(i) for i in at)
                first, second = float(runs[0][where]), float(runs[1][where])
                raise GradientError(
                    1, f"input {k}", where, first, second, "one reverse sweep", "the next gives"
                )
        wrong = ~(np.abs(analytic - numeric) <= atol + rtol * np.abs(numeric))
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = index[len(index) - values[k].ndim :] if values[k].ndim else ()
            raise GradientError(
                1,
                f"input {k} (output {j})",
                place,
                float(analytic[index]),
                float(numeric[index]),
                "reverse mode",
            )


def gradgradcheck(
    func: Callable,
    inputs: Any,
    grad_outputs: Any = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    seed: int = 0,
) -> bool:
    """Check gradients of gradients, as PyTorch does.

    Parameters are those of `gradcheck`; ``grad_outputs`` are the cotangents to use (random by default,
    drawn with ``seed``).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.testing.gradgradcheck(tg.sin, tg.tensor([0.5, 1.0], requires_grad=True))
    True
    """
    given = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    outs = floating(func(*given))
    if grad_outputs is None:
        rng = np.random.default_rng(seed)
        weights = [ns.tensor(rng.standard_normal(o.shape), requires_grad=True) for o in outs]
    else:
        weights = list(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else [grad_outputs]
    n = len(given)

    def gradient(*args: Any) -> tuple:
        found = gradients(
            floating(func(*args[:n])),
            [x for x in args[:n] if is_tensor(x) and x.requires_grad],
            list(args[n:]),
            create_graph=True,
        )
        return tuple(g for g in found if g is not None)

    return gradcheck(gradient, [*given, *weights], eps, atol, rtol, raise_exception, nondet_tol)
