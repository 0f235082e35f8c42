"""Hooks: what MMEngine's runner calls."""

from .distill_hook import DistillHook
from .epoch_seed_hook import EpochSeedHook

__all__ = ['DistillHook', 'EpochSeedHook']
