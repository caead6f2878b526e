"""Compiled functions in files and pickles, and the verification of what is read."""
