"""Compiled functions: recorded once per signature, replayed afterwards, guarded against other paths."""
