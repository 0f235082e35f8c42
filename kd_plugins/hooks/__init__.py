"""Hooks that MMEngine's runner calls."""

from .channels_last_hook import ChannelsLastHook
from .distill_hook import DistillHook
from .epoch_seed_hook import EpochSeedHook

__all__ = ['ChannelsLastHook', 'DistillHook', 'EpochSeedHook']
