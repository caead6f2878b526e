"""Elementary functions without branches, so that LLVM turns a loop over them into SIMD code.

Selections ``a if c else b`` act on values that exist already, integers and floats meet by their bits, and
nothing is called that LLVM would have to call as well.  Polynomials are minimax fits, computed for these
intervals with 45 digits.  Special values are exact.  Within 2 ulp everywhere, `power`, `lgamma` and
`digamma` within 4 (``tests/kernels/test_math.py`` measures it).

`muladd(x, y, z)` is ``x * y + z``, rounded once where the machine does that at no cost; the bounds hold
either way.  Long polynomials are summed in pairs of pairs, for the sake of the latency of single calls.

Special functions are within a handful of ulp (``tests/kernels/test_special_math.py``).  Those with loops,
such as the incomplete ones, are marked `twins.apart`: they are called, and call elementary functions
(`called`).

Each function of ``kernels.math`` computes in float64.  Most have a twin in ``kernels.math.single`` and its
like that computes in float32, in twice as many lanes (`kernels.twins`).
"""
