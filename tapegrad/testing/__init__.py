"""Checking derivatives, and Hypothesis strategies: for tapegrad's table and for users' functions."""

from tapegrad.testing.checks import TOLERANCE, GradientError, check_grads
from tapegrad.testing.facts import Coverage, coverage
from tapegrad.testing.jacobian import gradcheck, gradgradcheck, numeric_jacobian
from tapegrad.testing.strategies import arrays, broadcastable_shapes, tensors
from tapegrad.testing.table import Result, check_table, draw, draw_sample, row_function

__all__ = [
    "TOLERANCE",
    "Coverage",
    "GradientError",
    "Result",
    "arrays",
    "broadcastable_shapes",
    "check_grads",
    "check_table",
    "coverage",
    "draw",
    "draw_sample",
    "gradcheck",
    "gradgradcheck",
    "numeric_jacobian",
    "row_function",
    "tensors",
]
