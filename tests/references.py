"""What NumPy or SciPy gives, where their releases agree."""

import numpy as np
import pytest

OLD = np.lib.NumpyVersion(np.__version__) < "2.0.0"
# Functions of which NumPy 1 lacks arguments, or gives other shapes and numbers.
NEWER = {"average", "linalg.cond", "nanpercentile", "nanquantile", "percentile", "quantile"}


def inexact_in_old_scipy(name):
    """Whether SciPy 1.11, beside NumPy 1, takes logarithms of rounded probabilities, or bisects."""
    return OLD and name.startswith("stats.") and name.endswith((".logcdf", ".logsf", ".ppf"))


def reference_value(entry, bind, operands):
    """The reference's value; skips the test where an old release has no such thing."""
    if OLD and (entry.name in NEWER or inexact_in_old_scipy(entry.name)):
        pytest.skip("old releases differ")
    return bind(entry.reference)(*operands)
