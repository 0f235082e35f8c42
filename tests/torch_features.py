"""Features of torch that its older supported versions lack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.utils import digit_version

TORCH = digit_version(torch.__version__)
CPU_SCALER = pytest.mark.skipif(digit_version('2.3') > TORCH, reason='the loss scaler of this torch needs a GPU')
COMPILED_STEP = pytest.mark.skipif(
    digit_version('2.3') > TORCH, reason='this torch does not compile the plain training step of MMEngine'
)
LIVE_BYTES = pytest.mark.skipif(digit_version('2.5') > TORCH, reason='storages of this torch bear no weak references')
_HALF = pytest.mark.skipif(digit_version('2.3') > TORCH, reason='autocast of this torch has no float16 on a CPU')
AUTOCAST_TYPES: list[Any] = [torch.bfloat16, pytest.param(torch.float16, marks=_HALF)]
"""Types of autocast on a CPU, as parameters of a test."""
