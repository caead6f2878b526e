"""The engine: plans a stretch of tape and runs it, forward and in reverse.

Imported when a value is first looked at, because it imports Numba.
"""
