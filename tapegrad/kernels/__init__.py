"""Kernels: plain Python functions over raw memory that the engine compiles with Numba.

Nothing in this folder imports Numba.  ``tapegrad._jit`` compiles a kernel for one dtype by giving
it new globals: ``T`` (the dtype it computes in), ``TO`` (the dtype it writes) and ``array`` (a view
of raw memory).  Left as they are, the same functions run in plain Python, which is how the tests
check them first.
"""
