"""Sweeps: derivatives and batches as rows that are appended to the tape."""

from tapegrad.sweeps.reach import reaches as reaches
from tapegrad.sweeps.reach import sources as sources
from tapegrad.sweeps.sweep import Reverse as Reverse
from tapegrad.sweeps.sweep import handle as handle
from tapegrad.sweeps.sweep import pull as pull
from tapegrad.sweeps.sweep import push as push
from tapegrad.sweeps.sweep import slot_of as slot_of
from tapegrad.sweeps.sweep import spread as spread

__all__ = ["Reverse", "handle", "pull", "push", "reaches", "slot_of", "sources", "spread"]
