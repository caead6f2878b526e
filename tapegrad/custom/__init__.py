"""Users' own primitives: ``custom_op`` from jitted functions, ``autograd.Function`` in PyTorch's form."""
