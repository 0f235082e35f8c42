"""Model and teacher for runs on two ranks with half the batch each, which must equal a run with the whole batch."""

from __future__ import annotations

import torch

from tests.integration.runs import model_config

# GroupNorm, because batch statistics of half a batch differ.
MODEL = model_config(norm='GN')
# MMDetection clamps the normaliser of these two losses at 1 on each rank, so at low scores they depend on the number of
# ranks. Without them the whole run must be equal.
MODEL['bbox_head']['loss_bbox']['loss_weight'] = 0.0
MODEL['bbox_head']['loss_dfl']['loss_weight'] = 0.0
# A teacher that differs from the student from the first step on, so that the terms are not 0.
RANDOM_TEACHER = {'type': 'kd_plugins.FrozenTeacher', 'config': {'model': MODEL}, 'checkpoint': None}


def assert_close(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Fail unless the values agree within the rounding of a short run."""
    for name, value in first.items():
        torch.testing.assert_close(
            value, second[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}'
        )
