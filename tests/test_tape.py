"""Reading and verifying tapes."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops.table import ROWS
from tapegrad.tape import GRAD, OP, SIG, SPEC, Tape, TapeError, X, current


def lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_current_tape_is_public(tape):
    assert tg.tape.current.tape is tape
    assert len(tape) == 0
    assert str(tape) == "(empty tape)"
    assert "0 instructions" in repr(tape)


def test_printed_tape(tape):
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = tg.tensor([4.0, 5.0, 6.0])
    z = tg.sin(x) * y
    loss = (z + 2.5).sum()
    first = test_printed_tape.__code__.co_firstlineno
    here = "test_tape.py"
    assert lines(str(tape)) == [
        "%0:f64[3] = input grad # -",
        f"%1:f64[3] = sin %0 grad # {here}:{first + 3}",
        "%2:f64[3] = input # -",
        f"%3:f64[3] = multiply %1, %2 grad # {here}:{first + 3}",
        f"%4:f64[3] = add %3, 2.5 grad # {here}:{first + 4}",
        f"%5:f64[] = sum_all %4 grad # {here}:{first + 4}",
    ]
    assert loss.item() > 0
    assert lines(str(tape))[3].startswith("%3:f64[3] = multiply"), "printing again after running"


def test_printed_movement_and_dtypes(tape):
    x = tg.tensor(np.ones((2, 3), np.float32))
    x.T, x > 0
    text = str(tape)
    assert "f32[2,3]" in text and "f32[3,2]" in text and "b1[2,3]" in text
    assert "strides=(1, 3)" in text


def test_part_of_a_tape(tape):
    x = tg.tensor([1.0])
    for _ in range(5):
        x = x * 2.0
    assert len(tape.format(1, 3).splitlines()) == 2
    assert tape.format(1, 3).startswith("%1:")


def record():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    y = tg.sin(x)
    z = y * x
    return x, y, z, tg.sum(z, axis=0)


def test_check_accepts_what_was_recorded(tape):
    held = record()
    tape.check()
    held[-1].sum().backward()
    tape.check()


@pytest.fixture
def spoiled(tape):
    """A recorded tape that the test may damage; put back afterwards."""
    held = record()
    tape.seal()
    before = tape.code.copy()
    yield tape
    tape.code[:] = before
    del held


def test_unknown_opcode(spoiled):
    spoiled.code[1, OP] = len(ROWS) + 100
    with pytest.raises(TapeError, match="%1: unknown opcode"):
        spoiled.check()
    spoiled.code[1, OP] = ROWS["sin"].op | (GRAD << 1)
    with pytest.raises(TapeError, match="%1: unknown opcode"):
        spoiled.check()
    spoiled.code[1, OP] = -1
    with pytest.raises(TapeError, match="%1: unknown opcode"):
        spoiled.check()


@pytest.mark.parametrize("operand", [2, 3, 1000])
def test_operand_must_precede_its_result(spoiled, operand):
    spoiled.code[2, X] = operand
    with pytest.raises(TapeError, match=f"%2 = multiply: operand %{operand} does not precede"):
        spoiled.check()


def test_unknown_constant(spoiled):
    spoiled.code[2, X] = -7
    with pytest.raises(TapeError, match="%2 = multiply: no constant 6"):
        spoiled.check()


def test_wrong_shape(spoiled):
    spoiled.code[2, SPEC] = tg.tensor(np.ones((3, 2)))._spec.id
    with pytest.raises(TapeError, match=r"%2 = multiply: result has shape \(3, 2\), not \(2, 3\)"):
        spoiled.check()


def test_unknown_spec(spoiled):
    spoiled.code[2, SPEC] = 1 << 40
    with pytest.raises(TapeError, match="%2: unknown spec"):
        spoiled.check()


def test_wrong_signature(spoiled):
    spoiled.code[len(spoiled) - 1, SIG] = 99
    with pytest.raises(TapeError, match="unknown signature 99"):
        spoiled.check()


def test_tapes_are_independent(tape):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    other = current.tape = Tape()
    try:
        (x * 3.0).sum().backward()
        assert len(other) > 0
    finally:
        current.tape = tape
    assert x.grad.tolist() == [5.0, 7.0]


def test_interrupted_recording_loses_only_what_is_pending(tape):
    x = tg.tensor([1.0, 2.0])
    kept = x * 2
    kept.tolist()
    lost = x * 3
    tape.append(1, 2)  # an instruction cut short: no Tensor follows
    with pytest.raises(RuntimeError, match="interrupted"):
        lost.tolist()
    with pytest.raises(RuntimeError, match="lost"):
        lost.tolist()
    assert kept.tolist() == [2.0, 4.0]
    assert (x * 4).tolist() == [4.0, 8.0]
