"""Probability distributions: one row each, from which `tapegrad.stats` is made."""
