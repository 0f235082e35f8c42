"""Hooks that MMEngine's runner calls."""

from .channels_last_hook import ChannelsLastHook
from .class_rows_hook import ClassRowsHook
from .distill_hook import DistillHook
from .epoch_seed_hook import EpochSeedHook
from .fisher_hook import FisherHook
from .fitted_ema_hook import FittedEMAHook
from .second_stage_hook import SecondStageHook

__all__ = [
    'ChannelsLastHook',
    'ClassRowsHook',
    'DistillHook',
    'EpochSeedHook',
    'FisherHook',
    'FittedEMAHook',
    'SecondStageHook',
]
