"""Functional transforms: functions in, functions (or derivatives) out."""

from tapegrad.transforms.batching import vmap as vmap
from tapegrad.transforms.checkpointing import checkpoint as checkpoint
from tapegrad.transforms.gradients import elementwise_grad as elementwise_grad
from tapegrad.transforms.gradients import grad as grad
from tapegrad.transforms.gradients import hvp as hvp
from tapegrad.transforms.gradients import jvp as jvp
from tapegrad.transforms.gradients import value_and_grad as value_and_grad
from tapegrad.transforms.gradients import vjp as vjp
from tapegrad.transforms.jacobians import hessian as hessian
from tapegrad.transforms.jacobians import jacfwd as jacfwd
from tapegrad.transforms.jacobians import jacobian as jacobian
from tapegrad.transforms.jacobians import jacrev as jacrev

__all__ = [
    "checkpoint", "elementwise_grad", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp",
    "value_and_grad", "vjp", "vmap",
]  # fmt: skip
