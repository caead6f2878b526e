"""The table of primitives: one row each, and everything else derived from it.

A row holds a primitive's name, kind, forward kernel, derivative rules, smooth domain and reference.
Opcodes are the order of registration: generated, never typed, never relied upon.  The *kind* carries
the shape rule and says how the engine runs the instruction:

``ELEMENTWISE``
    ``forward`` is a function of scalars in ``kernels.scalar``; the engine wraps it in a tile loop
    and fuses runs of such instructions.  Each rule is an expression in ``f``, the namespace of scalar
    functions, and serves twice: Numba compiles it into the reverse kernel, and with ``f`` bound to
    tapegrad's own functions it records (``create_graph=True``).
``MOVEMENT``
    No arithmetic: ``layout`` maps the input's shape to strides and an offset into the input.  One
    gather kernel runs all of them and one scatter-add kernel reverses them.
``STRUCTURED``
    Everything else (reductions, scans, products, gathers, sorts): ``shape`` checks the operands and
    gives the result's shape, dtype and the kernel's integer parameters; rules are expressions in
    tapegrad's functions, traced once per signature into a short tape that the reverse loop runs.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "PUBLIC",
    "ROWS",
    "Domain",
    "Kind",
    "Out",
    "Public",
    "Row",
    "Sample",
    "elementwise",
    "movement",
    "ns",
    "public",
    "rows",
    "section",
    "structured",
]


class Kind(enum.IntEnum):
    """How the engine runs an instruction."""

    INPUT = 0
    ELEMENTWISE = 1
    STRUCTURED = 2
    MOVEMENT = 3


class Domain(NamedTuple):
    """Where an operand's derivative exists: an open interval, minus isolated kinks."""

    low: float = -np.inf
    high: float = np.inf
    avoid: tuple[float, ...] = ()


REAL = Domain()
POSITIVE = Domain(0.0, np.inf)
UNIT = Domain(-1.0, 1.0)
NONZERO = Domain(avoid=(0.0,))


class Out(NamedTuple):
    """What a structured row's shape rule returns."""

    shape: tuple[int, ...]
    dtype: np.dtype
    params: tuple[int, ...] = ()


@dataclass(eq=False)
class Row:
    """One primitive."""

    name: str
    kind: Kind
    arity: int
    forward: Callable | None = None
    rules: tuple[Callable | None, ...] = ()
    dtype_rule: str = "same"
    domain: tuple[Domain, ...] = ()
    reference: Callable | None = None
    layout: Callable | None = None
    shape: Callable | None = None
    samples: tuple = ()
    aliases: tuple[str, ...] = ()
    method: bool = True
    operator: str | None = None
    fastmath: bool = False
    bits: bool = False  # the kernel only moves memory: compile per item size, not per dtype
    typed_by: int = 0  # the operand whose dtype picks the kernel
    guarded: bool = False  # the local derivative can be infinite where the adjoint is zero
    result: str | None = None  # the result's dtype where it is another; "real", "complex": of its precision
    wants_raw: bool = False  # rules take ``raw=``, the instruction's varying integer
    sink: bool = False  # a full reduction that the tile loop can absorb
    in_place: bool = False  # the kernel may write its result over its first operand
    split: str = ""  # how threads can share a large call, one of ``engine.calls.SPLITS``
    linear: tuple[int, ...] = ()  # operands in which it is linear, each by itself
    batch: Callable | None = None  # records the row for operands with a leading axis
    accumulates: bool = False  # the kernel adds to its result if its varying integer is 1
    refusal: str | None = None  # why the kernel refuses operands, for numpy.linalg.LinAlgError
    complex: Any = False  # whether it takes complex operands, "only" such; a function to record in its place
    underivable: str | None = None  # why its rules (or, if it serves in rules, its kernel) refuse them
    public: bool = True
    home: str = ""  # the namespace inside tapegrad's that it is found in ("special"); then it is no method
    also: tuple[str, ...] = ()  # further such namespaces
    user: Any = None  # a user's own operation: what compiles it (``engine.user_kernels``)
    doc: str = ""
    kink: str = ""  # what the derivative is where there is none: "0 at 0", "ties share evenly"
    section: str = ""  # the heading that the reference has it under
    op: int = field(default=-1)

    def __repr__(self) -> str:
        return f"<row {self.name}>"


rows: list[Row] = []
ROWS: dict[str, Row] = {}


def _register(row: Row) -> Row:
    if row.name in ROWS:
        raise ValueError(f"primitive {row.name!r} is registered twice")
    if row.rules and len(row.rules) != row.arity:
        raise ValueError(f"primitive {row.name!r}: {len(row.rules)} rules for {row.arity} operands")
    row.op = len(rows)
    rows.append(row)
    ROWS[row.name] = row
    return row


_sections: dict[str, str] = {}  # by module: the heading of what it registers from here on


def section(title: str) -> None:
    """Begin a section of the reference: what the calling module registers from here on stands in it.

    Parameters
    ----------
    title : str
        Modules may give the same one.  Without any, the first line of the module's docstring serves.
    """
    _sections[sys._getframe(1).f_globals["__name__"]] = title


def _section(module: str) -> str:
    if module not in _sections:
        doc = getattr(sys.modules.get(module), "__doc__", None) or module
        _sections[module] = doc.strip().split("\n")[0].rstrip(".")
    return _sections[module]


INPUT = _register(Row("input", Kind.INPUT, 0, public=False, doc="A leaf: a value that was given."))


def elementwise(
    name: str,
    forward: Callable,
    *,
    rules: Sequence[Callable | None] = (),
    domain: Sequence[Domain] = (),
    reference: Callable,
    dtype: str = "same",
    aliases: Sequence[str] = (),
    operator: str | None = None,
    method: bool = True,
    guarded: bool = False,
    typed_by: int = 0,
    complex: bool | Callable = False,
    public: bool = True,
    home: str = "",
    also: Sequence[str] = (),
    kink: str = "",
    doc: str,
) -> Row:
    """Register an elementwise primitive.

    Parameters
    ----------
    name : str
        Public name (the array API's where it has one).
    forward : callable
        Function of ``kernels.scalar``, one scalar argument per operand.
    rules : sequence of callable or None
        Per operand, ``rule(g, out, x[, y[, z]])``: that operand's cotangent, an expression in ``f``.
        Empty for a primitive without derivative (comparisons, rounding's zero is written as rule).
    domain : sequence of Domain
        Per operand, where the derivative exists.
    reference : callable
        NumPy or SciPy function of the same arguments.
    dtype : {"same", "float", "bool", "logical", "bits", "where", "real", "complex"}
        ``same``: operands are promoted, so is the result.  ``float``: integers become float64 first.
        ``bool``: promoted operands, boolean result.  ``logical``: operands are tested for truth.
        ``bits``: integers and booleans only.  ``where``: first operand boolean, others promoted.
        ``real``: the result has the dtype of the operand's parts.  ``complex``: the other way round.
    complex : bool or callable
        Whether complex operands are allowed; the rules must then be those of a holomorphic function, which
        hold as they are (``docs/decisions/0019-complex.md``).  A function is recorded in place of the row.
    home : str
        A namespace of its own (``"special"``), instead of tapegrad's; such functions are no methods.
    also : sequence of str
        Namespaces in which it is found, too.
    kink : str
        What the derivative is where there is none: ``"0 at 0"`` (every operand being 0), ``"0 everywhere"``,
        ``"ties share evenly"``; these forms are tested.  Only for what the rules *choose*: where ``guarded``
        says that the derivative can be infinite, the reference finds out by itself where it is.
    """
    arity = forward.__code__.co_argcount
    return _register(
        Row(
            name,
            Kind.ELEMENTWISE,
            arity,
            forward,
            tuple(rules),
            dtype,
            tuple(domain) or (REAL,) * arity,
            reference,
            aliases=tuple(aliases),
            operator=operator,
            method=method and not home,
            guarded=guarded,
            typed_by=typed_by,
            complex=complex,
            public=public,
            home=home,
            also=tuple(also),
            doc=doc,
            kink=kink,
            section=_section(sys._getframe(1).f_globals["__name__"]),
        )
    )


def structured(
    name: str,
    kernel: Callable,
    arity: int,
    shape: Callable[..., Out],
    *,
    rules: Sequence[Callable | None] = (),
    fastmath: bool = False,
    bits: bool = False,
    typed_by: int = 0,
    sink: bool = False,
    in_place: bool = False,
    split: str = "",
    wants_raw: bool = False,
    linear: Sequence[int] = (),
    batch: Callable | None = None,
    result: str | None = None,
    accumulates: bool = False,
    refusal: str | None = None,
    complex: bool | str = False,
    kink: str = "",
    underivable: str | None = None,
    doc: str,
) -> Row:
    """Register a structured primitive (the public function is written beside it).

    Parameters
    ----------
    kernel : callable
        ``kernel(out, x, y, z, p, q) -> status``: addresses of result and operands, of the integer
        parameters that ``shape`` returned, and one integer that varies from call to call.
    shape : callable
        ``shape(*specs, **static) -> Out``: checks operands; raises NumPy's errors.
    rules : sequence of callable or None
        Per operand, ``rule(g, out, x[, y[, z]], **static)`` on tensors, in tapegrad's functions.
    in_place : bool
        The kernel may be given its first operand's memory for the result.
    split : str
        How threads can share a large call, one of ``engine.calls.SPLITS``.
    wants_raw : bool
        Rules take ``raw=`` too: an opaque integer that they may only pass on as ``raw=``.
    linear : sequence of int
        Operands whose tangent the row itself carries forward.
    batch : callable, optional
        ``batch(n, batched, *operands, **static)`` (and ``raw=`` with ``wants_raw``) records the row for
        operands of which those marked in ``batched`` have a leading axis of length ``n``; so has the
        result.  ``None`` returned, or no rule: the row is unrolled.
    accumulates : bool
        With 1 as its varying integer the kernel adds to what is in ``out``.
    refusal : str, optional
        What is wrong with operands for which the kernel returns ``1 + i``, matrix ``i`` being the culprit:
        the user gets it as a ``numpy.linalg.LinAlgError``.  Without it such a status is an ``IndexError``.
    complex : bool or "only"
        Whether complex operands are allowed, or only these.  Rules compute transposed derivatives,
        without conjugates (``docs/decisions/0019-complex.md``).
    kink : str
        What the derivative is where there is none (``"ties share evenly"``); public functions composed of the
        row inherit it.
    underivable : str, optional
        The same for operands at which there is no derivative: rules, or the kernels of rows that serve in
        them, return ``DERIVATIVE`` more (``kernels.lapack.table``).
    """
    return _register(
        Row(
            name,
            Kind.STRUCTURED,
            arity,
            kernel,
            tuple(rules),
            shape=shape,
            fastmath=fastmath,
            bits=bits,
            typed_by=typed_by,
            sink=sink,
            in_place=in_place,
            split=split,
            wants_raw=wants_raw,
            linear=tuple(linear),
            batch=batch,
            accumulates=accumulates,
            refusal=refusal,
            complex=complex,
            underivable=underivable,
            result=result,
            public=False,
            doc=doc,
            kink=kink,
        )
    )


def movement(name: str, layout: Callable, *, doc: str) -> Row:
    """Register a movement primitive.

    ``layout(shape, **static) -> (out_shape, strides, offset)``, strides and offset counted in
    elements of the contiguous input: ``out[i] = x.ravel()[offset + sum(i * strides)]``.
    """
    return _register(
        Row(
            name,
            Kind.MOVEMENT,
            1,
            layout=layout,
            rules=(None,),
            bits=True,
            split="movement",
            complex=True,
            public=False,
            doc=doc,
        )
    )


class Sample(NamedTuple):
    """Arguments that the table-driven tests call a public function with.

    ``shapes`` are those of the array operands; with ``packed`` they are passed as one list.
    ``args`` follow positionally, then ``kwargs``.  Values are drawn from ``domain``, all different; then
    ``prepare(*operands)`` makes fitting ones of them (a definite matrix) with operations that NumPy has too.
    """

    shapes: tuple[tuple[int, ...], ...]
    kwargs: Mapping[str, Any] = MappingProxyType({})
    args: tuple = ()
    domain: Domain = REAL
    dtype: str = "float64"
    packed: bool = False
    prefix: tuple = ()  # positional arguments before the operands (einsum's subscripts)
    differentiable: bool = True
    prepare: Callable[..., tuple] | None = None
    writes: bool = False  # it returns None and changes its first operand: a copy, looked at afterwards


@dataclass(eq=False)
class Public:
    """A public function that is not an elementwise row: what exports and tests derive from."""

    function: Callable
    reference: Callable | None
    samples: tuple[Sample, ...]
    aliases: tuple[str, ...] = ()
    method: bool = True
    differentiable: bool = True
    doc: str = ""
    home: str = ""  # the namespace inside tapegrad's that it is found in ("linalg")
    also: tuple[str, ...] = ()  # further such namespaces
    looks: bool = False  # whether it looks at values (its result's shape follows from them)
    folds: str = ""  # the operation of two that it folds an axis with: "add" for sum
    scans: str = ""  # the operation of two whose running results it gives: "add" for cumulative_sum
    kink: str = ""  # what the derivative is where there is none, if the rows it is made of do not say it
    section: str = ""  # the heading that the reference has it under

    @property
    def name(self) -> str:
        """Where it is found: ``"sum"``, ``"linalg.solve"``."""
        name = self.function.__name__
        return f"{self.home}.{name}" if self.home else name


PUBLIC: dict[str, Public] = {}


def public(
    *,
    reference: Callable | None = None,
    samples: Sequence[Sample] = (),
    aliases: Sequence[str] = (),
    method: bool = True,
    differentiable: bool = True,
    name: str | None = None,
    home: str = "",
    also: Sequence[str] = (),
    looks: bool = False,
    folds: str = "",
    scans: str = "",
    kink: str = "",
) -> Callable[[Callable], Callable]:
    """Register a public function; the namespace, Tensor's methods and the tests derive from it.

    Parameters
    ----------
    reference : callable
        NumPy or SciPy function of the same arguments.
    samples : sequence of Sample
        Arguments to test it with.
    aliases : sequence of str
        Other public names.
    method : bool
        Whether ``Tensor`` has it as a method (operand first), aliases included.
    differentiable : bool
        Whether results of floating operands take part in differentiation.
    home : str
        A namespace of its own (``"linalg"``); such functions are no methods.
    also : sequence of str
        Namespaces in which it is found, too.
    looks : bool
        Whether it looks at values: it cannot be batched, and is recorded anew for other values.
    folds, scans : str
        NumPy's name of the operation of two that it folds an axis with, or whose running results it
        gives: what ``np.add.reduce`` and ``np.add.accumulate`` ask for.
    kink : str
        What the derivative is where there is none.  By default that of the rows which the function records;
        ``"none"`` if these do not tell.
    """

    def register(function: Callable) -> Callable:
        if name is not None:
            function.__name__ = function.__qualname__ = name
        doc = (function.__doc__ or "").strip().split("\n")[0]
        entry = Public(
            function,
            reference,
            tuple(samples),
            tuple(aliases),
            method and not home,
            differentiable,
            doc,
            home,
            tuple(also),
            looks,
            folds,
            scans,
            kink,
            _section(function.__module__),
        )
        if entry.name in PUBLIC:
            raise ValueError(f"public function {entry.name!r} is registered twice")
        PUBLIC[entry.name] = entry
        return function

    return register


class _Namespace:
    """tapegrad's functions, looked up late (rules are written before they all exist).

    Rows that are not public, or live in a namespace of their own, are found by their names as well.
    """

    def __getattr__(self, name: str) -> Any:
        from tapegrad.ops.namespace import exports, function_of

        if name in exports:
            found = exports[name]
        elif name in ROWS:
            found = function_of(ROWS[name])
        else:
            import tapegrad

            return getattr(tapegrad, name)
        setattr(self, name, found)
        return found


ns = _Namespace()
