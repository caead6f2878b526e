"""Names and signatures of the array API standard, 2024.12."""

import inspect
import math

import pytest

import tapegrad as tg

TEXT = """\
arange(start, /, stop, step, *, dtype, device)
asarray(obj, /, *, dtype, device, copy)
empty(shape, *, dtype, device)
empty_like(x, /, *, dtype, device)
eye(n_rows, n_cols, /, *, k, dtype, device)
from_dlpack(x, /, *, device, copy)
full(shape, fill_value, *, dtype, device)
full_like(x, /, fill_value, *, dtype, device)
linspace(start, stop, /, num, *, dtype, device, endpoint)
meshgrid(*arrays, indexing)
ones(shape, *, dtype, device)
ones_like(x, /, *, dtype, device)
tril(x, /, *, k)
triu(x, /, *, k)
zeros(shape, *, dtype, device)
zeros_like(x, /, *, dtype, device)
astype(x, dtype, /, *, copy, device)
can_cast(from_, to, /)
finfo(type, /)
iinfo(type, /)
isdtype(dtype, kind)
result_type(*values)
clip(x, /, min, max)
take(x, indices, /, *, axis)
take_along_axis(x, indices, /, *, axis)
matmul(x1, x2, /)
matrix_transpose(x, /)
tensordot(x1, x2, /, *, axes)
vecdot(x1, x2, /, *, axis)
broadcast_arrays(*arrays)
broadcast_to(x, /, shape)
concat(arrays, /, *, axis)
expand_dims(x, /, axis)
flip(x, /, *, axis)
moveaxis(x, source, destination, /)
permute_dims(x, /, axes)
repeat(x, repeats, /, *, axis)
reshape(x, /, shape, *, copy)
roll(x, /, shift, *, axis)
squeeze(x, /, axis)
stack(arrays, /, *, axis)
tile(x, repetitions, /)
unstack(x, /, *, axis)
argmax(x, /, *, axis, keepdims)
argmin(x, /, *, axis, keepdims)
count_nonzero(x, /, *, axis, keepdims)
nonzero(x, /)
searchsorted(x1, x2, /, *, side, sorter)
where(condition, x1, x2, /)
unique_all(x, /)
unique_counts(x, /)
unique_inverse(x, /)
unique_values(x, /)
argsort(x, /, *, axis, descending, stable)
sort(x, /, *, axis, descending, stable)
cumulative_sum(x, /, *, axis, dtype, include_initial)
cumulative_prod(x, /, *, axis, dtype, include_initial)
max(x, /, *, axis, keepdims)
mean(x, /, *, axis, keepdims)
min(x, /, *, axis, keepdims)
prod(x, /, *, axis, dtype, keepdims)
std(x, /, *, axis, correction, keepdims)
sum(x, /, *, axis, dtype, keepdims)
var(x, /, *, axis, correction, keepdims)
all(x, /, *, axis, keepdims)
any(x, /, *, axis, keepdims)
diff(x, /, *, axis, n, prepend, append)
__array_namespace_info__()
"""
UNARY = """
abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite
isinf isnan log log1p log2 log10 logical_not negative positive real reciprocal round sign signbit
sin sinh square sqrt tan tanh trunc
"""
BINARY = """
add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide
equal floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or
logical_xor maximum minimum multiply nextafter not_equal pow remainder subtract
"""
SIGNATURES = [
    *TEXT.splitlines(),
    *[f"{name}(x, /)" for name in UNARY.split()],
    *[f"{name}(x1, x2, /)" for name in BINARY.split()],
]


def standard(text):
    """A signature of the standard: the kinds of its parameters, by name."""
    name, arguments = text.rstrip(")").split("(")
    kinds = {"positional": [], "either": [], "keyword": [], "rest": []}
    where = "positional" if "/" in arguments else "either"
    for argument in filter(None, arguments.split(", ")):
        if argument == "/":
            where = "either"
        elif argument == "*":
            where = "keyword"
        elif argument.startswith("*"):
            kinds["rest"].append(argument[1:])
            where = "keyword"
        else:
            kinds[where].append(argument)
    return name, kinds


@pytest.mark.parametrize("text", SIGNATURES)
def test_signature(text):
    name, kinds = standard(text)
    parameters = list(inspect.signature(getattr(tg, name)).parameters.values())
    names = [p.name for p in parameters]
    P = inspect.Parameter
    leading = [p for p in parameters if p.kind in (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD)]
    if kinds["rest"]:
        assert parameters[0].kind is P.VAR_POSITIONAL
    elif name != "tile":  # takes repetitions one by one, too
        assert len(leading) >= len(kinds["positional"]) + len(kinds["either"])
    for k, own in enumerate(kinds["either"], len(kinds["positional"])):
        assert leading[k].name == own and leading[k].kind is P.POSITIONAL_OR_KEYWORD
    for own in kinds["keyword"]:
        assert own in names
        assert parameters[names.index(own)].kind in (P.POSITIONAL_OR_KEYWORD, P.KEYWORD_ONLY)
    assert name in tg.__all__


OPERATORS = """
abs add and eq floordiv ge gt invert le lshift lt matmul mod mul ne neg or pos pow rshift sub
truediv xor
"""


def test_methods_and_attributes():
    x = tg.ones((2, 3))
    for name in OPERATORS.split():
        assert callable(getattr(x, f"__{name}__"))
    for name in ("add", "sub", "mul", "truediv", "floordiv", "pow", "matmul", "mod", "and", "or", "xor"):
        assert callable(getattr(x, f"__r{name}__")) and callable(getattr(x, f"__i{name}__"))
    for name in ("lshift", "rshift"):
        assert callable(getattr(x, f"__r{name}__")) and callable(getattr(x, f"__i{name}__"))
    assert (x.device, x.ndim, x.shape, x.size, x.dtype) == ("cpu", 2, (2, 3), 6, tg.float64)
    assert x.T.shape == x.mT.shape == (3, 2)
    assert x.__array_namespace__(api_version="2024.12") is tg and x.__dlpack_device__() == (1, 0)
    assert x.to_device("cpu") is x
    with pytest.raises(ValueError, match=r"version '1999\.12'"):
        x.__array_namespace__(api_version="1999.12")
    with pytest.raises(ValueError, match="to_device: device 'gpu'"):
        x.to_device("gpu")
    with pytest.raises(ValueError, match=r"to_device: .*streams"):
        x.to_device("cpu", stream=1)
    assert tg.__array_api_version__ == "2024.12"
    assert (tg.e, tg.pi, tg.inf, tg.newaxis) == (math.e, math.pi, math.inf, None) and math.isnan(tg.nan)
