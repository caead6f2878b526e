"""Factorisations and solves, on SciPy's LAPACK and BLAS; plain loops for small matrices.

What the routines want by address lies in ``p``: first a table (`table`) of addresses of routines, letters,
the bits of 1, -1 and 0, then the sizes.  Sizes that vary within a kernel lie on its stack (`spill`).
Row-major memory is a transposed column-major matrix to LAPACK: a lower triangle is its upper one, and
``a x = b`` becomes ``x' a' = b'``, with ``a'`` on the right.

A status of ``1 + i`` says that matrix ``i`` of the batch was refused.
"""
