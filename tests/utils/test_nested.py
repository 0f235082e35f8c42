"""Replacing tensors within nested values."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor

from kd_plugins.utils.nested import map_tensors


class Pair(NamedTuple):
    """A result with names."""

    first: Tensor
    second: Tensor | None = None


def test_kinds_are_kept_and_other_values_are_the_same() -> None:
    sample, ones = object(), torch.ones(1)
    value = OrderedDict(maps=(ones, [ones]), pair=Pair(ones), sample=sample, number=3)
    replaced = map_tensors(value, torch.neg)
    assert type(replaced) is dict and replaced['sample'] is sample and replaced['number'] == 3
    assert type(replaced['maps']) is tuple and replaced['maps'][1][0] == -1
    assert isinstance(replaced['pair'], Pair) and replaced['pair'].first == -1 and replaced['pair'].second is None
    assert map_tensors(sample, torch.neg) is sample and ones == 1
