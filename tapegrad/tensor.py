"""``Tensor``: what the user holds.

A Tensor is a name for a slot of a tape, or for a value in memory (a leaf that no operation has used
yet, a result whose history is gone), or both.  Values never change once written: an in-place
operation records a new instruction and lets the Tensor stand for its result (``_take``), and
tensors that share memory in PyTorch (views, ``detach()``, ``data``) are kept in step by replaying
their way from the base.  So a derivative can never read an overwritten value.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tapegrad.spec import COMPLEX128, FLOAT64, Spec, intern_spec
from tapegrad.tape import GRAD, Ghost, Tape, current
from tapegrad.trace import INTEGER, TRUTH, VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapegrad.compiled.recording import Recording

__all__ = ["Tensor", "new_result", "tensor", "tensor_from_array"]

_GENERALITY = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}  # in place, a result is not made less general
LEAF, NONLEAF = 1, 2  # values of Tensor._rg; 0: does not require grad

# How many functions are being recorded for replay, in all threads: while there is one, looking at a value
# has to ask whose recording it belongs to.  A global, because a look at an ordinary tensor takes 60 ns.
_recordings = 0
_counting = threading.Lock()


def count_recordings(step: int) -> None:
    """Note that a recording for replay begins (1) or ends (-1)."""
    global _recordings
    with _counting:
        _recordings += step


class Extra:
    """What few tensors have: a gradient, hooks, relations to other tensors."""

    __slots__ = ("base", "changes", "grad", "hooks", "path", "retains", "views")

    def __init__(self) -> None:
        self.changes = 0  # how often it was changed in place, if anybody counts
        self.grad: Tensor | None = None
        self.hooks: dict[int, Callable] | None = None
        self.retains = False
        self.base: Tensor | None = None  # for a view: whose memory it shows
        self.path: tuple = ()  # for a view: the movements that lead from the base to it
        self.views: list[weakref.ref] | None = None  # for a base


class Tensor:
    """An array that records what is done with it.

    Make tensors with `tapegrad.tensor`, `tapegrad.zeros` and the other creation functions.

    Attributes
    ----------
    shape, dtype, ndim, size, T, mT
        As for NumPy arrays.
    requires_grad : bool
        Whether operations on the tensor are recorded for differentiation.
    grad : Tensor or None
        The gradient that ``backward()`` accumulated, for leaves that require grad.
    """

    __slots__ = ("__weakref__", "_extra", "_rg", "_slot", "_spec", "_tape", "_value")

    _tape: Tape | None  # where it has a slot; only its own thread ever changes this
    _slot: int
    _spec: Spec
    _rg: int
    _value: np.ndarray | None  # once computed
    _extra: Extra | None

    if TYPE_CHECKING:  # what ops.namespace derives from the table

        def __getattr__(self, name: str) -> Any: ...

        def __neg__(self) -> Any: ...
        def _binary(self, other: Any, /) -> Any: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _binary
        __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = _binary

        def __setitem__(self, key: Any, value: Any, /) -> None: ...
        def __iter__(self) -> Any: ...

    __array_priority__ = 1000
    __hash__ = object.__hash__

    # --- what it is -------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis."""
        return self._spec.shape

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the elements."""
        return self._spec.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._spec.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._spec.size

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._spec.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._spec.nbytes

    @property
    def device(self) -> str:
        """Always ``"cpu"``."""
        return "cpu"

    def dim(self) -> int:
        """Number of axes, PyTorch's spelling of ``ndim``."""
        return self._spec.ndim

    def numel(self) -> int:
        """Number of elements, PyTorch's spelling of ``size``."""
        return self._spec.size

    def __len__(self) -> int:
        if not self._spec.shape:
            raise TypeError("len() of a 0-d tensor")
        return self._spec.shape[0]

    # --- differentiation --------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded for differentiation."""
        return self._rg != 0

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` in place; return the tensor.

        Raises
        ------
        RuntimeError
            If the dtype is neither floating point nor complex, or if the tensor is a result and the flag is
            cleared.
        """
        if requires_grad:
            if not self._spec.differentiable:
                raise RuntimeError(
                    "only Tensors of floating point and complex dtype can require gradients; "
                    f"this one has dtype {self._spec.dtype}"
                )
            if self._rg == 0:
                self._become_leaf()
        elif self._rg == NONLEAF:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        elif self._rg == LEAF:
            self._unbind()
            self._rg = 0
        return self

    def _become_leaf(self) -> None:
        # Operations recorded so far must not see the change: give later ones a slot of their own.
        self._unbind(True)
        self._rg = LEAF

    def _unbind(self, as_leaf: bool = False) -> None:
        """Leave the tape; the value stays."""
        tape = self._tape
        if tape is not None and tape.recording and tape is current.tape:
            new = _record_detach(self, as_leaf)  # the value is not known: move to a row of its own
            tape.tensors[self._slot] = Ghost(self._spec)
            self._slot = new._slot
            tape.tensors[self._slot] = self
            return
        _before_change(self, "requires_grad")
        if self._tape is not None:
            self._compute()
            self._tape._forget(self)
            self._tape = None  # the stale slot stays: another thread may be about to read it

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user rather than computed from one requiring grad."""
        return self._rg != NONLEAF

    @property
    def grad_fn(self) -> Any:
        """The instruction that computed the tensor (``None`` for leaves)."""
        if self._rg != NONLEAF:
            return None
        from tapegrad.autograd import GradFn

        return GradFn(self)

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient."""
        extra = self._extra
        return extra.grad if extra is not None else None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        _before_change(self, "grad")
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad must be a Tensor or None, not {type(value).__name__}")
            if value._spec is not self._spec:
                raise RuntimeError(f"assigned grad has {value._spec!r}, but the tensor is {self._spec!r}")
            if value is self:
                raise RuntimeError("can't assign a Tensor as its own grad")
        self._more().grad = value

    def _more(self) -> Extra:
        if self._extra is None:
            self._extra = Extra()
        return self._extra

    def retain_grad(self) -> None:
        """Let ``backward()`` store ``.grad`` on this result, as it does on leaves."""
        if not self._rg:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._rg == NONLEAF:
            self._more().retains = True
            self._tape.hooked.add(self._slot)  # type: ignore[union-attr]

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad()`` was called on this result."""
        return self._extra is not None and self._extra.retains

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Any:
        """Call ``hook(grad)`` when this tensor's gradient is complete.

        Whatever the hook returns, if not ``None``, replaces the gradient from there on.

        Returns
        -------
        handle
            Its ``remove()`` takes the hook away.
        """
        if not self._rg:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        from tapegrad.autograd import HookHandle

        extra = self._more()
        if extra.hooks is None:
            extra.hooks = {}
        if self._rg == NONLEAF:
            self._tape.hooked.add(self._slot)  # type: ignore[union-attr]
        return HookHandle(extra.hooks, hook)

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | None = None,
    ) -> None:
        """Add the derivatives of this tensor to ``.grad`` of the leaves it was computed from.

        Parameters
        ----------
        gradient : Tensor or array_like, optional
            Weights ``a`` of the same shape: the gradient of ``sum(self[i] * a[i])`` is taken.
            May be left out for a tensor of one element.
        retain_graph : bool, optional
            Keep what was saved, so that backward can be called again.  Default ``create_graph``.
        create_graph : bool
            Record the backward pass itself, for higher derivatives.
        inputs : sequence of Tensor, optional
            Accumulate into these only.

        Raises
        ------
        RuntimeError
            As PyTorch does: nothing requires grad, no gradient given for a non-scalar, shape
            mismatch, a saved value was freed or changed in place.
        """
        from tapegrad import autograd

        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """The same value, cut off from the graph (shares later in-place changes, as in PyTorch)."""
        out = _detached(self)
        _register_view(self, out, (_DETACH,))
        return out

    @property
    def data(self) -> Tensor:
        """The value as a tensor that does not require grad; changing it changes this tensor."""
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        from tapegrad.ops.record import as_operand

        new = as_operand(value)
        if new is not self:
            self._take_value(_detached(new), "data")

    def detach_(self) -> Tensor:
        """Cut this tensor off from the graph, in place."""
        if self._rg:
            self._unbind()
            self._rg = 0
        return self

    # --- values -----------------------------------------------------------------------------------

    def _realize(self, kind: int = VALUE) -> np.ndarray:
        """Look at the value: compute it if need be; return it, writable (internal).

        While a function is recorded for replay, the look becomes a guard of ``kind``.
        """
        if _recordings:
            for tape in (current.tape, self._tape):
                if tape is not None and tape.recording:
                    tape.require_owner(self)
                    return cast("Recording", tape).look(self, kind)
        return self._compute()

    def _peek(self) -> np.ndarray:
        """The value, for showing it: no guard."""
        tape = current.tape if current.tape.recording else self._tape
        recorded = tape is not None and tape.recording
        return cast("Recording", tape).peek(self) if recorded else self._compute()

    def _compute(self) -> np.ndarray:
        """The value of a tensor that is on an ordinary tape, or on none."""
        value = self._value
        if value is None:
            tape = self._tape
            if tape is None:
                raise RuntimeError(
                    "this tensor's value was lost when recording was interrupted; compute it again"
                )
            tape.require_owner(self)
            tape.run()
            value = self._value
            assert value is not None
        return value

    def numpy(self) -> np.ndarray:
        """The value as a read-only array.

        Raises
        ------
        RuntimeError
            If the tensor requires grad; use ``detach().numpy()``.
        """
        if self._rg:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            )
        return _read_only(self._realize())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._rg:
            raise RuntimeError(
                "Can't convert a Tensor that requires grad to a NumPy array. "
                "Use tensor.detach().numpy() instead."
            )
        value = _read_only(self._realize())
        if dtype is not None and np.dtype(dtype) != value.dtype:
            if copy is False:
                raise ValueError(f"cannot convert {value.dtype} to {np.dtype(dtype)} without a copy")
            return value.astype(dtype)
        return value if copy is False else value.copy()

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        if self._spec.size != 1:
            raise RuntimeError(f"a Tensor with {self._spec.size} elements cannot be converted to Scalar")
        value = self._value
        return (self._realize() if value is None or _recordings else value).item()

    def _item(self, kind: int) -> Any:
        if self._spec.size != 1:
            raise RuntimeError(f"a Tensor with {self._spec.size} elements cannot be converted to Scalar")
        value = self._value
        return (self._realize(kind) if value is None or _recordings else value).item()

    def tolist(self) -> Any:
        """The value as nested Python lists."""
        return self._realize().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self._item(INTEGER))

    def __index__(self) -> int:
        if self._spec.kind not in "iu" or self._spec.ndim:
            raise TypeError("only integer scalar tensors can be converted to an index")
        return int(self._item(INTEGER))

    def __complex__(self) -> complex:
        return complex(self.item())

    def __bool__(self) -> bool:
        if self._spec.size != 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        value = self._value
        return bool((self._realize(TRUTH) if value is None or _recordings else value).item())

    def __repr__(self) -> str:
        from tapegrad.printing import format_tensor

        return format_tensor(self)

    def __format__(self, spec: str) -> str:
        return format(self._peek().item(), spec) if spec and self._spec.ndim == 0 else repr(self)

    def __reduce__(self) -> tuple:
        if self._rg == NONLEAF:
            raise RuntimeError("only leaf tensors can be pickled or copied; call detach() first")
        return _rebuild, (np.array(self._realize()), self._rg == LEAF)

    def __deepcopy__(self, memo: dict) -> Tensor:
        if self._rg == NONLEAF:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol"
            )
        out = tensor_from_array(self._realize())
        out._rg = self._rg
        if self.grad is not None:
            out.grad = tensor_from_array(self.grad._realize())
        memo[id(self)] = out
        return out

    # --- in place ---------------------------------------------------------------------------------

    def _take(self, new: Tensor, name: str) -> Tensor:
        """Stand for ``new``'s value from now on (the end of every in-place operation)."""
        if new._spec is not self._spec:
            if new._spec.shape != self._spec.shape:
                raise RuntimeError(
                    f"{name}: output with shape {list(self._spec.shape)} doesn't match the "
                    f"broadcast shape {list(new._spec.shape)}"
                )
            if _GENERALITY[new._spec.kind] > _GENERALITY[self._spec.kind]:
                raise RuntimeError(
                    f"{name}: result type {new._spec.dtype} can't be cast to the desired output "
                    f"type {self._spec.dtype}"
                )
            from tapegrad.ops.record import cast

            new = cast(new, self._spec.dtype)
        extra = self._extra
        if extra is not None and extra.base is not None:
            _write_through(self, new, name)
        else:
            self._replace(new, name)
        return self

    def _check_in_place(self) -> None:
        """Refuse what PyTorch refuses, before anything is recorded."""
        current.tape.in_place_since = len(current.tape.tensors)
        if current.tape.grad_enabled:
            base = self._extra.base if self._extra is not None else None
            detached = self._extra is not None and _DETACH in self._extra.path
            if self._rg == LEAF:
                raise RuntimeError(
                    "a leaf Variable that requires grad is being used in an in-place operation. "
                    "Do it under no_grad()."
                )
            if base is not None and base._rg == LEAF and not detached:
                raise RuntimeError(
                    "a view of a leaf Variable that requires grad is being used in an in-place "
                    "operation. Do it under no_grad()."
                )

    def _take_value(self, value: Tensor, name: str) -> None:
        """Change the value and nothing else: a leaf stays one, history stays (``.data``)."""
        if self._rg == NONLEAF:
            from tapegrad.ops.record import record_elementwise
            from tapegrad.ops.table import ROWS

            value = record_elementwise(ROWS["replace_value"], (self, value))
        self._replace(value, name)

    def _set_value(self, value: np.ndarray) -> None:
        """Hold another value from now on; what has been recorded keeps the old one."""
        _before_change(self, "its value")
        if self._tape is not None:
            self._tape._forget(self)
            self._tape = None
        self._value = value
        if self._extra is not None:
            self._extra.changes += 1
            if self._extra.views:
                _refresh_views(self)

    def _replace(self, new: Tensor, name: str) -> None:
        tape = current.tape
        _before_change(self, name)
        if self._tape is not None and self._tape is not tape and self._value is None:
            self._tape.require_owner(self)
        leaf = self._rg == LEAF
        if leaf or new._tape is not tape:
            new = _record_detach(new, leaf)
        slot = new._slot
        if self._tape is tape:  # its slot is read only now: recording may have renumbered the tape
            tape.mutated(self._slot, slot, name, self)
        self._tape, self._slot, self._spec, self._value = tape, slot, new._spec, new._value
        if not leaf:
            self._rg = new._rg
        tape.tensors[slot] = self
        extra = self._extra
        if extra is not None:
            extra.changes += 1
            if (extra.hooks or extra.retains) and self._rg == NONLEAF:
                tape.hooked.add(slot)
            if extra.views:
                _refresh_views(self)


# --- making them ----------------------------------------------------------------------------------


def new_result(tape: Tape, spec: Spec, rg: int) -> Tensor:
    """The Tensor of the instruction that was just appended."""
    t = Tensor()
    t._tape = tape
    t._slot = len(tape.tensors)
    t._spec = spec
    t._rg = rg
    t._value = t._extra = None
    tape.hold(t)
    if t._slot >= tape.limit:
        tape.run()
    return t


def tensor_from_array(array: np.ndarray, rg: int = 0) -> Tensor:
    """Wrap an array nobody else will change (no copy if contiguous)."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    flags = array.flags
    if not flags.c_contiguous or not flags.aligned:
        array = np.array(array, order="C")
    t = Tensor()
    t._tape = None
    t._slot = -1
    t._spec = intern_spec(array.shape, array.dtype)
    t._rg = rg
    t._value = array
    t._extra = None
    return t


def _rebuild(array: np.ndarray, requires_grad: bool) -> Tensor:
    if not array.flags.owndata:  # memory of whoever unpickles: buffers out of band
        array = array.copy()
    return tensor_from_array(array, LEAF if requires_grad else 0)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor from data, copying it.

    Parameters
    ----------
    data : array_like
        Numbers, nested sequences of numbers (or of tensors), arrays.
    dtype : dtype, optional
        Default: the data's, with Python floats giving float64.
    requires_grad : bool
        Whether to record operations on it for differentiation.

    Raises
    ------
    RuntimeError
        If ``requires_grad`` and the dtype is neither floating point nor complex.
    TypeError
        If the data is not numeric.
    ValueError
        If nested sequences have unequal lengths.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensor([2.0, 3.0], requires_grad=True)
    tensor([2., 3.], requires_grad=True)
    """
    if _recordings and current.tape.recording:
        found = _recorded(data)
        if found is not None:
            found = _detached(found if dtype is None else found.astype(np.dtype(dtype)))
            return found.requires_grad_() if requires_grad else found
    if isinstance(data, Tensor):
        array = np.array(data._realize())
    else:
        array = np.array(_strip(data))
        if array.dtype == object:
            raise TypeError(f"tensor: cannot make a tensor of {type(data).__name__} data")
    if dtype is not None:
        array = array.astype(np.dtype(dtype))
    else:
        bare = array.size == 0 and not isinstance(data, (np.ndarray, Tensor))
        if bare or (array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8)):
            array = array.astype(FLOAT64)
        elif array.dtype.kind == "c" and array.dtype.itemsize not in (8, 16):
            array = array.astype(COMPLEX128)
    t = tensor_from_array(np.ascontiguousarray(array).reshape(array.shape))
    return t.requires_grad_() if requires_grad else t


def _recorded(data: Any) -> Tensor | None:
    """Data whose values may differ at a replay, as an operand; ``None`` for mere numbers."""
    from tapegrad.ops.record import _holds_tensor, as_operand

    if isinstance(data, (Tensor, np.ndarray)) or (isinstance(data, (list, tuple)) and _holds_tensor(data)):
        return as_operand(data, "tensor")
    return None


def _strip(data: Any) -> Any:
    """Replace tensors inside nested sequences by their values."""
    if isinstance(data, Tensor):
        return data._realize()
    if isinstance(data, (list, tuple)):
        return [_strip(d) for d in data]
    return data


# --- sharing memory -------------------------------------------------------------------------------

_DETACH = ("detach",)


def _before_change(t: Tensor, what: str) -> None:
    """Tell a recording for replay that a tensor from outside is about to be changed."""
    if _recordings:
        tape = current.tape
        if tape.recording and t._tape is not tape:
            cast("Recording", tape).touch(t, what)


def _record_detach(x: Tensor, as_leaf: bool) -> Tensor:
    """A slot with ``x``'s value and no history; with ``as_leaf`` one that collects a gradient."""
    from tapegrad.ops.table import ROWS

    tape = current.tape
    slot = x._slot if x._tape is tape else tape.bind(x)
    tape.append(ROWS["detach"].op | (GRAD if as_leaf else 0), x._spec.id, slot)
    return new_result(tape, x._spec, 0)


def _detached(x: Tensor) -> Tensor:
    if x._value is not None and not (_recordings and current.tape.recording):
        return tensor_from_array(x._value)
    return _record_detach(x, False)


def _register_view(base: Tensor, out: Tensor, path: tuple) -> None:
    """Note that ``out`` shows ``base``'s memory through ``path``."""
    extra = base._extra
    if extra is not None and extra.base is not None:
        path = extra.path + path
        base = extra.base
    more = out._more()
    more.base, more.path = base, path
    group = base._more()
    if group.views is None:
        group.views = []
    elif len(group.views) >= 32 and (len(group.views) & (len(group.views) - 1)) == 0:
        group.views = [r for r in group.views if r() is not None]
    group.views.append(weakref.ref(out))


def _show(base: Tensor, path: tuple) -> Tensor:
    """Follow ``path`` from ``base``."""
    from tapegrad.ops.movement import apply_movement

    for step in path:
        base = _detached(base) if step is _DETACH else apply_movement(base, step)
    return base


def _refresh_views(base: Tensor) -> None:
    """Let the views of a base that has changed show the change."""
    extra = base._extra
    assert extra is not None and extra.views is not None
    alive = [(r, r()) for r in extra.views]
    extra.views = [r for r, v in alive if v is not None]
    for _, v in alive:
        if v is not None and v._extra is not None:
            shown = _show(base, v._extra.path)
            _repoint(v, shown)


def _repoint(v: Tensor, shown: Tensor) -> None:
    tape = current.tape
    _before_change(v, "view")
    if v._tape is tape:
        tape.mutated(v._slot, shown._slot, "view", v)
    v._tape, v._slot, v._value = shown._tape, shown._slot, shown._value
    if v._rg != LEAF:
        v._rg = shown._rg
    if shown._tape is not None:
        shown._tape.tensors[shown._slot] = v


def _write_through(view: Tensor, new: Tensor, name: str) -> None:
    """Change a base through one of its views."""
    from tapegrad.ops.movement import write_movement

    assert view._extra is not None
    base, path = view._extra.base, view._extra.path
    assert base is not None

    def write(target: Tensor, steps: tuple) -> Tensor:
        if not steps:
            return new
        head, rest = steps[0], steps[1:]
        if head is _DETACH:
            return write(_detached(target), rest)
        inner = write(apply(target, head), rest) if rest else new
        return write_movement(target, head, inner)

    from tapegrad.ops.movement import apply_movement as apply

    changed = write(base, path)
    if _DETACH in path:
        base._take_value(changed, name)
    else:
        base._replace(changed, name)
