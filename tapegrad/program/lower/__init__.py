"""The tier above the interpreter: scalar stretches of a program that is run often, as machine code."""
