"""Discrete Fourier transforms, under NumPy's and SciPy's names.

What is here is registered in ``tapegrad.ops`` with ``home="fft"``.
"""

from tapegrad.ops.namespace import spaces

globals().update(spaces["fft"])
__all__ = sorted(spaces["fft"])
