"""How other libraries call tapegrad: NumPy's protocols, DLPack."""
