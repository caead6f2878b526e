"""The Python side of a run: held tensors, memory, kernels, errors, reclaiming."""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import _jit
from tapegrad.engine import layout as L
from tapegrad.engine import threads, tiles
from tapegrad.engine.interpret import forward_loop, reverse_loop
from tapegrad.engine.kernel_table import library
from tapegrad.engine.memory import Arena, Memory, address_of, aligned
from tapegrad.engine.plan import REGION_LIMIT, plan
from tapegrad.engine.reclaim import maybe_reclaim
from tapegrad.engine.templates import TemplateStore, aside
from tapegrad.engine.walk import (
    begin,
    clear,
    collect_gradients,
    collect_held,
    forget_values,
    free_graph,
    saves_for_others,
    seed,
)
from tapegrad.kernels.lapack.table import DERIVATIVE
from tapegrad.kernels.memory import NO_MEMORY
from tapegrad.ops import fast
from tapegrad.ops.record import conjugated
from tapegrad.ops.table import rows as table_rows
from tapegrad.spec import table as spec_table
from tapegrad.tape import MUTATED, OP_MASK, Ghost, Tape
from tapegrad.tensor import Tensor, tensor_from_array

if TYPE_CHECKING:
    from tapegrad.ops.table import Row

fast.install()

__all__ = ["Runner", "call_hooks", "run_backward", "run_forward"]


class Runner:
    """A tape's working memory: scratch arrays, region buffers, templates, and the frame of addresses."""

    def __init__(self) -> None:
        self.templates = TemplateStore()
        self.busy = False  # a run is under way; Python code that runs in between must keep off
        self.frame = np.zeros(L.FRAME, np.int64)
        self.seen: list[Any] = [None] * L.FRAME
        self.grown: tuple = (None,) * 5
        self.arena = Arena()
        self.totals = np.zeros(L.TOTALS, np.int64)
        self.missing = np.zeros((4096, 4), np.int64)
        self.last_of_shape = np.full(256, -1, np.int64)
        self.scratch = np.zeros(L.SCRATCH + L.COUNTERS, np.int64)
        self.buffer, self.frame[L.F_BUFFER] = aligned(1 << 20)
        self.memory, self.frame[L.F_MEMORY] = aligned(1 << 12)
        self.frame[L.F_RUN_REGION] = _jit.kernel("run_region", tiles.run_region, 10, {})
        self.frame[L.F_SELF] = address_of(self.frame)
        self.frame[L.F_SHARED] = threads.shared_at
        self.cotangents, self.cotangents_at = aligned(1 << 12)
        self.capacity = 0
        self.grow(512)

    def grow(self, n: int) -> None:
        """Make room for ``n`` slots."""
        self.capacity = 2 * n
        self.slots = np.zeros((2 * n, L.SLOT_COLUMNS), np.int64)
        self.slots[:, [L.VREG, L.AREG, L.GROUP]] = -1
        self.groups = np.zeros((2 * n, L.GROUP_COLUMNS), np.int64)
        self.members = np.zeros(2 * n, np.int64)
        self.big = np.zeros(4 * n, np.int64)
        self.found = np.zeros(6 * n, np.int64)

    def prepare(self, tape: Tape, n: int) -> None:
        """Make room for a run over ``n`` slots, and bring the frame up to date."""
        if n > self.capacity:
            self.grow(n)
        if len(spec_table.shape_ids) > len(self.last_of_shape):
            self.last_of_shape = np.full(2 * len(spec_table.shape_ids), -1, np.int64)
        library.refresh()
        store = self.templates
        store.sync(tape)
        starts, params = tape.parameter_arrays()
        f, seen = self.frame, self.seen
        if store.memory_bytes > len(self.memory) - 64:
            self.memory, f[L.F_MEMORY] = aligned(2 * store.memory_bytes)
        # What is replaced often enough to look at every time ...
        if seen[L.F_CODE] is not tape.code:
            seen[L.F_CODE] = tape.code
            f[L.F_CODE] = address_of(tape.code)
        if seen[L.F_CONSTS] is not tape.const_pool:
            seen[L.F_CONSTS] = tape.const_pool
            f[L.F_CONSTS] = address_of(tape.const_pool)
        if seen[L.F_PARAMS] is not params:
            seen[L.F_PARAMS] = params
            f[L.F_PARAMS], f[L.F_STARTS] = address_of(params), address_of(starts)
        # ... and what is replaced when something has grown.
        grown = (self.slots, spec_table.rows, library.info, store.stamp, self.last_of_shape)
        if any(a is not b for a, b in zip(grown, self.grown)):
            self.grown = grown
            arrays = {
                L.F_SLOTS: self.slots, L.F_GROUPS: self.groups, L.F_MEMBERS: self.members, L.F_BIG: self.big,
                L.F_FOUND: self.found, L.F_MISSING: self.missing, L.F_TOTALS: self.totals,
                L.F_SCRATCH: self.scratch, L.F_LAST: self.last_of_shape, L.F_SPECS: spec_table.rows,
                L.F_INFO: library.info, L.F_KERNELS: library.kernels, L.F_SPANS: store.spans,
                L.F_T_CODE: store.code, L.F_T_SLOTS: store.slots, L.F_T_MEMBERS: store.members,
                L.F_T_CONSTS: store.consts, L.F_TEMPLATES: store.known, L.F_USES: store.uses,
            }  # fmt: skip
            for k, a in arrays.items():
                f[k] = address_of(a)


def _check_idle(tape: Tape) -> None:
    if tape.runner is not None and tape.runner.busy:
        raise RuntimeError(
            "a signal's handler or a finalizer asked for a value of this thread's tape while that was running"
        )


def _runner(tape: Tape) -> Runner:
    if tape.runner is None:
        tape.runner = Runner()
    return tape.runner


def _begin(tape: Tape, r: Runner, n: int) -> list[int]:
    """Find held tensors, give fresh inputs their addresses; list those."""
    r.prepare(tape, n)
    start = tape.evaluated
    if start == n:
        return []
    inputs = r.found[: begin(r.frame, start, n, id(tape.tensors))].tolist()
    for slot in inputs:
        tape.code[slot, L.ADDR] = address_of(tape.keep[slot])
    return inputs


def _plan(tape: Tape, r: Runner, lo: int, n: int, backward: bool, restricted: bool) -> bool:
    """Plan; ``False`` if the run must begin again (rules had to be traced, or ``lo`` is too high)."""
    plan(r.frame, lo, n, backward, restricted, 1 if tape.anomaly else REGION_LIMIT, tape.anomaly)
    totals = r.totals.tolist()
    error = totals[L.T_ERROR]
    if error:
        untraced = r.found[: totals[L.T_TEMPLATES]].tolist()
        try:
            if error not in (L.TEMPLATE_ERROR, L.WIDEN_ERROR):
                raise _saved_value_error(tape, r)
            for index in untraced:
                r.templates.install(tape, index)
        finally:
            r.templates.forget(untraced)
        return False
    for op, dtype, which, result in r.missing[: totals[L.T_MISSING]].tolist() if totals[L.T_MISSING] else ():
        library.address(op, dtype, which, result)
    return True


def _row(tape: Tape, slot: int) -> Row:
    return table_rows[int(tape.code[slot, L.OP]) & OP_MASK]


def _describe(tape: Tape, slot: int) -> str:
    spec = spec_table.by_id[int(tape.code[slot, L.SPEC])]
    return f"{_row(tape, slot).name} -> {spec!r}, recorded at {tape.source(slot)}"


def _saved_value_error(tape: Tape, r: Runner) -> RuntimeError:
    slot = int(r.totals[L.T_WHERE])
    if r.totals[L.T_ERROR] == L.FREED_ERROR:
        return freed_error(tape, slot)
    if r.totals[L.T_ERROR] == L.MUTATED_ERROR:
        return mutated_error(tape, slot, int(r.totals[L.T_CHANGED]))
    return RuntimeError(f"internal error: the value of %{slot} ({_describe(tape, slot)}) is gone")


def freed_error(tape: Tape, slot: int) -> RuntimeError:
    """The error for a second backward pass through ``slot``."""
    return RuntimeError(
        "Trying to backward through the graph a second time (or directly access saved tensors "
        "after they have already been freed): the values saved by "
        f"{_describe(tape, slot)}, are gone. Specify retain_graph=True in the first backward "
        "or autograd.grad call if you need to backward through the graph a second time."
    )


def mutated_error(tape: Tape, slot: int, changed: int) -> RuntimeError:
    """The error for a derivative that needs a value which was changed in place."""
    _, by, name = tape.mutations.get(changed, (0, -1, "an in-place operation"))
    line = f" at {tape.source(by)}" if by >= 0 else ""
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: {_describe(tape, slot)}, saved the value of %{changed} "
        f"({_describe(tape, changed)}), which {name} changed{line}. Use an out-of-place "
        "operation there, or clone() the value first."
    )


# --- forward --------------------------------------------------------------------------------------


def run_forward(tape: Tape) -> None:
    """Compute every pending value that somebody holds."""
    _check_idle(tape)
    n = tape.seal()
    if tape.evaluated == n:
        return
    r = _runner(tape)
    lo = tape.evaluated
    r.busy = True
    try:
        inputs = _begin(tape, r, n)
        if not _plan(tape, r, lo, n, False, False):
            clear(r.frame, 0, n)
            lo = 0
            inputs = _begin(tape, r, n)
            _plan(tape, r, lo, n, False, False)
        memory = Memory(tape, r, lo, n)
        try:
            _forward(tape, r, n, L.AFTER)
        except KernelError as error:
            raise _recover(tape, r, n, error) from None
        except BaseException:
            forget_values(r.frame, lo, n, True)
            raise
        keep_saved = bool(saves_for_others(r.frame, n, tape.evaluated, False))
        _finish(tape, r, lo, n, memory, inputs, keep_saved)
    finally:
        clear(r.frame, lo, n)
        r.busy = False
    maybe_reclaim(tape)


def _forward(tape: Tape, r: Runner, n: int, phase: int) -> None:
    if not r.totals[L.T_PHASES] & phase:
        return
    _run_loop(r, forward_loop, phase)
    if tape.anomaly:
        _check_values(tape, r, n, phase)


def _run_loop(r: Runner, loop: Any, *arguments: int) -> None:
    status = int(loop(r.frame, *arguments))
    if status:
        threads.raise_pending(status)
        raise KernelError(int(r.totals[L.T_FAILED]), status)


class KernelError(Exception):
    """A kernel refused its operands (internal; the user gets what ``_recover`` makes of it)."""

    def __init__(self, slot: int, status: int) -> None:
        super().__init__(slot, status)
        self.slot, self.status = slot, status


def _recover(tape: Tape, r: Runner, n: int, error: KernelError) -> Exception:
    """Take a failed instruction and what depends on it off the tape; return the user's error."""
    failure = _user_error(tape, error, n) if error.status >= L.USER_STATUS else None
    forget_values(r.frame, 0, n, True)
    description = _describe(tape, error.slot)
    row = _row(tape, error.slot)
    lost = {error.slot}
    for i in range(error.slot + 1, n):
        arity = int(library.info[int(tape.code[i, L.OP]) & OP_MASK, L.ARITY])
        if any(int(tape.code[i, L.X + k]) in lost for k in range(arity)):
            lost.add(i)
    for i in lost:
        t = tape.tensor_at(i)
        if isinstance(t, Tensor):
            tape.tensors[i] = Ghost(t._spec)
            t._tape, t._slot = None, -1
    if failure is not None:
        return failure
    if error.status == NO_MEMORY:
        return MemoryError(f"{row.name}: no memory to work in ({description})")
    if error.status < 0:
        return RuntimeError(f"internal error {error.status} while running {description}")
    if row.refusal is not None or row.underivable is not None:
        return linalg_error(row, error.status, description)
    return IndexError(f"{row.name}: index out of bounds ({description})")


def linalg_error(row: Row, status: int, description: str) -> Exception:
    """The error for a matrix that a kernel refused: number ``status - 1`` of a batch."""
    why = row.refusal
    if status > DERIVATIVE:
        status, why = status - DERIVATIVE, row.underivable
    which = f" (matrix {status - 1} of the batch)" if status > 1 else ""
    return np.linalg.LinAlgError(f"{row.name}: {why}{which} ({description})")


def _user_error(tape: Tape, error: KernelError, n: int) -> Exception:
    """The error that a user's own operation ended with (while its operands are in memory)."""
    from tapegrad.engine.user_kernels import user_error

    # A region reports its first instruction; the status says which row failed.
    for i in range(error.slot, n):
        if int(tape.code[i, L.OP]) & OP_MASK == error.status & OP_MASK:
            error.slot = i
            break
    return user_error(error.status, tape.source(error.slot))


def _finish(
    tape: Tape, r: Runner, lo: int, n: int, memory: Memory, inputs: list[int], keep_saved: bool
) -> None:
    """Give held tensors their values, and let go of the rest."""
    start = tape.evaluated
    tensors = tape.tensors
    held = r.found[: collect_held(r.frame, n, start)].tolist()
    stay = []
    for slot in held:
        t = tensors[slot]
        t._value = tape.keep[slot] = memory.value(r, slot, t._spec)
        stay.append((slot, weakref.ref(t)))
    for slot in inputs:
        stay.append((slot, weakref.ref(tensors[slot])))
    tensors[start:n] = [None] * (n - start)
    for slot, reference in stay:
        tensors[slot] = reference
        tape.survivors.append(slot)
    if keep_saved:
        if not tape.chunks or tape.chunks[-1] is not memory.saved:
            tape.chunks.append(memory.saved)
        for slot, value in memory.big.items():
            tape.keep[slot] = value
    else:
        forget_values(r.frame, lo, n, False)
    tape.stored_bytes += memory.nbytes
    tape.evaluated = n
    tape.limit = n + tape.seal_every


# --- backward -------------------------------------------------------------------------------------


def run_backward(
    tape: Tape,
    roots: list[tuple[Tensor, np.ndarray | None]],
    retain_graph: bool,
    targets: list[Tensor] | None,
) -> dict[int, np.ndarray]:
    """Run the tape in reverse.

    Parameters
    ----------
    roots : list of (Tensor, array or None)
        Where to start, with which cotangent (``None``: one).
    retain_graph : bool
        Whether the values that rules read stay for another pass.
    targets : list of Tensor, optional
        Only these gradients are wanted.  Default: those of all leaves.

    Returns
    -------
    dict
        Gradient arrays by slot.
    """
    _check_idle(tape)
    if tape.anomaly:
        run_forward(tape)  # values are looked at in the order in which they were recorded
    root_slots = [t._slot if t._tape is tape else tape.bind(t) for t, _ in roots]
    wanted = [t._slot if t._tape is tape else tape.bind(t) for t in targets or ()]
    n = tape.seal()
    r = _runner(tape)
    for slot in tape.unmarked:
        tape.code[slot, L.STATE] = (
            (int(tape.code[slot, L.STATE]) & 255) | MUTATED | tape.mutations[slot][0] << 8
        )
    tape.unmarked.clear()
    r.busy = True
    try:
        while True:
            inputs = _begin(tape, r, n)
            for slot in root_slots:
                r.slots[slot, L.ROLE] |= L.ROLE_ROOT
            for slot in wanted:
                r.slots[slot, L.ROLE] |= L.ROLE_TARGET
            watched = _note_hooks(tape, r, targets is None) if tape.hooked else {}
            if _plan(tape, r, 0, n, True, targets is not None):
                break
            clear(r.frame, 0, n)
        memory = Memory(tape, r, 0, n)
        for slot, (_, cotangent) in zip(root_slots, roots):
            seed(r.frame, slot, 0 if cotangent is None else address_of(cotangent))
        try:
            _forward(tape, r, n, L.BEFORE)
            _reverse(tape, r, watched)
            _forward(tape, r, n, L.AFTER)
        except KernelError as error:
            raise _recover(tape, r, n, error) from None
        except BaseException:
            forget_values(r.frame, 0, n, True)
            raise
        gradients = {}
        for slot in r.found[: collect_gradients(r.frame, n)].tolist():
            spec = spec_table.by_id[int(tape.code[slot, L.SPEC])]
            gradients[slot] = memory.gradient(r, slot, spec)
        if not retain_graph:
            for slot in r.found[: free_graph(r.frame, n)].tolist():
                if tape.tensor_at(slot) is None and slot in tape.keep:
                    del tape.keep[slot]
                    tape.code[slot, L.ADDR] = 0
        keep_saved = retain_graph or bool(saves_for_others(r.frame, n, tape.evaluated, True))
        _finish(tape, r, 0, n, memory, inputs, keep_saved)
    finally:
        clear(r.frame, 0, n)
        r.busy = False
    return gradients  # by slot, so the caller reclaims


def _note_hooks(tape: Tape, r: Runner, all_leaves: bool) -> dict[int, Tensor]:
    """Mark slots whose tensors have hooks or retain their gradient."""
    watched = {}
    for slot in list(tape.hooked):
        t = tape.tensor_at(slot)
        if not isinstance(t, Tensor) or t._extra is None or t._slot != slot:
            tape.hooked.discard(slot)
            continue
        if t._extra.hooks:
            r.slots[slot, L.ROLE] |= L.ROLE_WATCHED
            watched[slot] = t
        if t._extra.retains and all_leaves:
            r.slots[slot, L.ROLE] |= L.ROLE_TARGET
    return watched


def _reverse(tape: Tape, r: Runner, watched: dict[int, Tensor]) -> None:
    """The reverse loop, interrupted where a hook wants to see a complete cotangent."""
    last = int(r.totals[L.T_GROUPS])
    by_group: dict[int, list[int]] = {}
    for slot in watched:
        if r.slots[slot, L.REVERSE]:
            by_group.setdefault(int(r.slots[slot, L.GROUP]), []).append(slot)
    pauses = range(last - 1, -1, -1) if tape.anomaly else sorted(by_group, reverse=True)

    def run(first: int, last: int) -> None:
        _run_loop(r, reverse_loop, first, last)

    for pause in pauses:
        run(pause + 1, last)
        last = pause + 1
        for slot in by_group.get(pause, ()):
            if r.slots[slot, L.TOUCHED]:
                _run_hooks(tape, r, slot, watched[slot])
        if tape.anomaly:
            run(pause, last)
            last = pause
            _check_cotangents(tape, r, int(r.members[r.groups[pause, L.G_START]]))
    run(0, last)


def raw_array(address: int, spec: Any) -> np.ndarray:
    """View memory of this run as an array (it must not outlive the run)."""
    if spec.size == 0:
        return np.empty(spec.shape, spec.dtype)
    buffer = (ctypes.c_char * spec.nbytes).from_address(address)
    return np.frombuffer(buffer, spec.dtype).reshape(spec.shape)


def _run_hooks(tape: Tape, r: Runner, slot: int, t: Tensor) -> None:
    view = raw_array(int(r.slots[slot, L.ADJ]), t._spec)
    # The hook may record and look at values: it gets a tape of its own while ours is running.
    with aside():
        changed = call_hooks(t, tensor_from_array(view.copy()))
        view[...] = changed._realize()


def call_hooks(t: Tensor, g: Tensor) -> Tensor:
    """Pass a cotangent through a tensor's hooks, which see and return gradients."""
    assert t._extra is not None and t._extra.hooks is not None
    g = conjugated(g)
    for hook in list(t._extra.hooks.values()):
        result = hook(g)
        if result is not None:
            if not isinstance(result, Tensor) or result._spec is not g._spec:
                raise RuntimeError(
                    f"hook {hook!r} must return None or a tensor like its argument, {g._spec!r}; "
                    f"it returned {getattr(result, '_spec', type(result).__name__)!r}"
                )
            g = result
    return conjugated(g)


# --- anomaly mode ---------------------------------------------------------------------------------


def _check_values(tape: Tape, r: Runner, n: int, phase: int) -> None:
    for i in range(n):
        if r.slots[i, L.WANT] & phase and tape.code[i, L.ADDR]:
            spec = spec_table.by_id[int(tape.code[i, L.SPEC])]
            if spec.differentiable and not np.isfinite(raw_array(int(tape.code[i, L.ADDR]), spec)).all():
                raise RuntimeError(f"detect_anomaly: %{i} = {_describe(tape, i)}, returned nan or inf values")


def _check_cotangents(tape: Tape, r: Runner, i: int) -> None:
    row = _row(tape, i)
    for k in range(row.arity):
        o = int(tape.code[i, L.X + k])
        if o >= 0 and r.slots[o, L.TOUCHED]:
            spec = spec_table.by_id[int(tape.code[o, L.SPEC])]
            if not np.isfinite(raw_array(int(r.slots[o, L.ADJ]), spec)).all():
                raise RuntimeError(
                    f"detect_anomaly: the derivative of %{i} = {_describe(tape, i)}, returned nan or "
                    f"inf values for its operand {k}"
                )
