"""The public namespace, ``Tensor``'s methods and operators, and NumPy's dispatch, derived from the table.

``exports`` maps public names to objects; ``tapegrad/__init__.py`` publishes it, and modules such as
``tapegrad/linalg.py`` the dictionaries in ``spaces``.  Nothing here knows
an operation by name: a new row or ``@public`` function in any module of ``tapegrad.ops`` appears in
the namespace, on ``Tensor``, as an operator, as an in-place method and behind NumPy's function of the
same meaning.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from sys import _getframe
from typing import Any

import numpy as np

import tapegrad.ops
from tapegrad import methods
from tapegrad.ops import fast
from tapegrad.ops.record import elementwise_functions, operator_methods, record_elementwise
from tapegrad.ops.table import PUBLIC, Domain, Kind, Public, Row, rows
from tapegrad.spec import DTYPES
from tapegrad.tensor import Tensor

__all__ = ["exports", "function_of", "spaces", "stack_nested"]

for _module in pkgutil.walk_packages(tapegrad.ops.__path__, "tapegrad.ops."):
    if _module.name != __name__:
        importlib.import_module(_module.name)

from tapegrad.interop import dlpack  # noqa: E402  (after the modules that register rows)
from tapegrad.interop.functions import array_function  # noqa: E402
from tapegrad.interop.ufuncs import array_ufunc  # noqa: E402
from tapegrad.ops import creation, dtypes, grids  # noqa: E402
from tapegrad.ops.index import getitem, setitem  # noqa: E402

exports: dict[str, Any] = {"Tensor": Tensor}
spaces: dict[str, dict[str, Any]] = {}  # what the namespaces inside hold: "linalg", "special"

# --- functions ------------------------------------------------------------------------------------

RESULT_DTYPES = {
    "same": "of the operands' promoted dtype",
    "float": "floating (integers become float64)",
    "bool": "bool",
    "test": "bool",
    "logical": "bool",
    "bits": "of the operands' promoted integer dtype",
    "where": "of the promoted dtype of the last two operands",
    "real": "of the dtype of the operand's parts",
    "complex": "complex, of the operands' precision",
}


def _example_value(domain: Domain) -> list[float]:
    """Two numbers inside a domain, away from its kinks."""
    if np.isfinite(domain.low) and np.isfinite(domain.high):
        width = domain.high - domain.low
        return [domain.low + 0.625 * width, domain.low + 0.75 * width]
    if np.isfinite(domain.low):
        return [domain.low + 0.5, domain.low + 1.5]
    if np.isfinite(domain.high):
        return [domain.high - 1.5, domain.high - 0.5]
    return [0.25, 1.75]


def _docstring(row: Row) -> str:
    space = f"tg.{row.home}" if row.home else "tg"
    operands = ("x", "y", "z")[: row.arity]
    differentiable = any(rule is not None for rule in row.rules)
    arguments = [str(_example_value(domain)) for domain in row.domain]
    if row.dtype_rule == "where":
        arguments[0] = "[True, False]"
    elif row.dtype_rule == "bits":
        arguments = ["[1, 2]"] * row.arity
    elif differentiable:
        arguments[0] = "x"
    lines = [inspect.cleandoc(row.doc), ""]
    lines += ["Parameters", "----------", f"{', '.join(operands)} : Tensor, array_like or number"]
    lines += ["    Broadcast against each other." if row.arity > 1 else "    Any shape.", ""]
    lines += ["Returns", "-------", "Tensor"]
    lines += [f"    {'Broadcast shape' if row.arity > 1 else 'Same shape'}; {RESULT_DTYPES[row.dtype_rule]}."]
    if not differentiable:
        lines += ["    Does not take part in differentiation."]
    elif row.kink:
        lines += [f"    Where there is no derivative, it is: {row.kink}."]
    lines += ["", "Raises", "------"]
    if row.arity > 1:
        lines += ["ValueError", "    If the shapes do not broadcast."]
    lines += ["TypeError", "    If an operand is not numeric, or its dtype is not one the operation takes."]
    lines += ["", "Examples", "--------", ">>> import tapegrad as tg"]
    call = f"{space}.{row.name}({', '.join(arguments)})"
    if differentiable and arguments[0] == "x":
        lines += [f">>> x = tg.tensor({_example_value(row.domain[0])}, requires_grad=True)"]
        loss = f"{call}.real" if row.dtype_rule == "complex" else call
        lines += [f">>> {loss}.sum().backward()", ">>> x.grad.shape", "(2,)"]
    else:
        lines += [f">>> {call}.shape", "(2,)"]
    return "\n".join(lines) + "\n"


def _name(function: Callable, name: str, doc: str | None = None, owner: str = "") -> Callable:
    function.__name__ = name
    function.__qualname__ = f"{owner}{name}"
    function.__module__ = "tapegrad"
    if doc is not None:
        function.__doc__ = doc
    return function


COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}


def _in_place(name: str, function: Callable) -> Callable:
    """Build the in-place form of an operation: record it, then stand for its result."""

    def in_place(self: Tensor, *operands: Any) -> Any:
        self._check_in_place()
        new = function(self, *operands)
        if new is NotImplemented:
            return new
        tape = new._tape
        if tape is not None:  # name the user's line, not this one
            frame = _getframe(1)
            tape.relocate(new._slot, (frame.f_code, frame.f_lasti), new._slot + 1)
        return self._take(new, name)

    return _name(in_place, name, f"In-place `{name[:-1]}`: the tensor takes the result's value.", "Tensor.")


def _attach(name: str, attribute: Any) -> None:
    """Give ``Tensor`` an attribute, unless its class body defines it."""
    if name not in _class_body:
        setattr(Tensor, name, attribute)


_class_body = frozenset(vars(Tensor))


def _export_row(row: Row) -> None:
    python = elementwise_functions(row)["function"]
    if fast.eligible(row):
        python = fast.front(row, elementwise_functions(row, depth=2)["function"])
    function = _name(python, row.name, _docstring(row))
    stem = row.operator
    operator = operator_methods(row) if stem is not None else {}
    in_place = _in_place(f"{row.name}_", operator.get("function", function))
    for name in (row.name, *row.aliases):
        _publish(name, function, row)
        if row.method:
            _attach(name, function)
            if row.dtype_rule not in ("test", "where"):
                _attach(f"{name}_", in_place)
    if stem is None:
        return
    _attach_operator(row, f"__{stem}__", "function", operator)
    if "reflected" in operator and stem not in COMPARISONS:
        _attach_operator(row, f"__r{stem}__", "reflected", operator)
        _attach(f"__i{stem}__", in_place)


def _publish(name: str, function: Callable, entry: Row | Public) -> None:
    """Enter a function in its namespaces."""
    (spaces.setdefault(entry.home, {}) if entry.home else exports)[name] = function
    for other in entry.also:
        spaces.setdefault(other, {})[name] = function


def function_of(row: Row) -> Callable:
    """The public function of an elementwise row, or a recorder for a row that has none."""
    if row.public:
        return (spaces[row.home] if row.home else exports)[row.name]
    return lambda *operands: record_elementwise(row, operands)


def _attach_operator(row: Row, name: str, form: str, forms: dict[str, Callable]) -> None:
    method = _name(forms[form], name, None, "Tensor.")
    if name not in _class_body and fast.eligible(row):
        fast.operator(row, form, name, method)
    _attach(name, method)


def _attach_all() -> None:
    for name, method in (*methods.METHODS.items(), *dlpack.METHODS.items()):
        _attach(name, method)
    for name, dtype in methods.TORCH_CASTS.items():
        _attach(name, methods.cast_method(name, dtype))
    for name, getter in methods.PROPERTIES.items():
        _attach(name, property(getter, doc=getter.__doc__))
    _attach("__getitem__", getitem)
    _attach("__setitem__", setitem)
    _attach("__array_ufunc__", array_ufunc)
    _attach("__array_function__", array_function)


# --- nested lists of tensors ----------------------------------------------------------------------


def stack_nested(value: list | tuple) -> Tensor:
    """Stack nested sequences whose elements may be tensors; gradients reach them.

    Raises
    ------
    ValueError
        If the elements' shapes differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> tg.ops.namespace.stack_nested([x, 1.0, x * x]).tolist()
    [2.0, 1.0, 4.0]
    """
    parts = [stack_nested(v) if isinstance(v, (list, tuple)) else methods.as_operand(v) for v in value]
    return exports["stack"](parts)


# --- build ----------------------------------------------------------------------------------------


def _build() -> None:
    for row in rows:
        if row.kind is not Kind.ELEMENTWISE or not row.public:
            continue
        _export_row(row)
    for public in PUBLIC.values():
        for alias in (public.function.__name__, *public.aliases):
            _publish(alias, public.function, public)
            if public.method:
                _attach(alias, public.function)
    for name in ("clip", "clamp", "round", "rint"):
        if name in exports:
            _attach(f"{name}_", _in_place(f"{name}_", exports[name]))
    for functions in (creation, grids, dtypes, dlpack):
        exports.update({name: getattr(functions, name) for name in functions.__all__ if name != "METHODS"})
    for dtype in DTYPES:
        exports[dtype.name] = dtype
    exports.update(e=np.e, inf=np.inf, nan=np.nan, newaxis=None, pi=np.pi)
    _attach_all()


_build()
