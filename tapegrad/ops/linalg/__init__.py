"""Linear algebra: the rows, and the functions of ``tapegrad.linalg``.

Rules are expressions in these same rows, so they hold to any order.  A row that refuses its operand raises
``numpy.linalg.LinAlgError``.  Factors that other rows work with (``lu``) are a value without a derivative:
`solve`, `det` and their derivatives take the matrix, which is differentiated, and the factors, which are
used.
"""
