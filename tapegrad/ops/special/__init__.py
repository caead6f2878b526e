"""Special functions: rows and public functions that live in ``tapegrad.special``, a file per family."""
