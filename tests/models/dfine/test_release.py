"""All losses of the authors' released criterion on inputs that a formula gives.

The values were computed once with ``src/zoo/dfine/dfine_criterion.py`` of Peterande/D-FINE in float32 on one process.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.structures import InstanceData
from torch import Tensor

from kd_plugins.losses import DDFLoss
from kd_plugins.models.dfine import Criterion, Denoising, Predictions, Proposals
from tests.models.dfine.common import criterion
from tools.analysis.dfine_twins import ours

GOLDEN = {
    '': (4.56018353, 2.20844269, 2.14850330, 0.29608381, None),
    'd0.': (3.82507062, 2.08311772, 2.09214520, 0.29299501, 0.00461863),
    'd1.': (4.56078911, 2.14928961, 2.11829519, 0.29819474, 0.00123118),
    'init.': (3.90935349, 2.02546692, 2.05697751, None, None),
    'enc_': (4.03960657, 2.34325480, 2.26433563, None, None),
    'd0.dn_': (2.89626026, 3.42203403, 2.74852300, 0.03978048, 0.00347013),
    'd1.dn_': (2.98611903, 3.39928150, 2.73691082, 0.04294091, 0.00094979),
    'dn_': (2.87911510, 3.36614728, 2.72147369, 0.04728977, None),
    'init.dn_': (2.49826407, 3.43418145, 2.75522876, None, None),
}
TERMS = ('loss_cls', 'loss_bbox', 'loss_iou', 'loss_fgl', 'loss_ddf')
SHAPE = (100, 100)


def wave(shape: tuple[int, ...], step: float, phase: float) -> Tensor:
    return torch.sin(step * torch.arange(torch.Size(shape).numel(), dtype=torch.float32) + phase).view(shape)


def scores(queries: int, phase: float) -> Tensor:
    return 2 * wave((2, queries, 3), 0.37, phase)


def boxes(queries: int, phase: float) -> Tensor:
    sides = [(0.5, 0.35, 0.9, 0.3, 0.05), (0.5, 0.35, 1.3, 0.7, 0.05), (0.25, 0.1, 0.7, 1.0, 0.1)]
    sides.append((0.3, 0.1, 1.1, 0.2, 0.1))
    parts = [start + size * wave((2, queries), step, b + slope * phase) for start, size, step, b, slope in sides]
    return torch.stack(parts, dim=-1)


def predictions(queries: int, first: int, initial: int) -> Predictions:
    phases = range(first, first + 3)
    return Predictions(
        torch.stack([scores(queries, phase) for phase in phases]),
        torch.stack([boxes(queries, phase) for phase in phases]),
        torch.stack([1.5 * wave((2, queries, 4, 33), 0.013, 0.5 * phase) for phase in phases]),
        scores(queries, initial),
        boxes(queries, initial),
    )


def evaluate(made: Criterion | None = None, **options: Any) -> dict[str, Tensor]:
    centers = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.6, 0.2, 0.3], [0.6, 0.4, 0.3, 0.2]])
    corners = 100 * torch.cat([centers[:, :2] - centers[:, 2:] / 2, centers[:, :2] + centers[:, 2:] / 2], dim=1)
    labels = torch.tensor([0, 2, 1])
    truths = [InstanceData(bboxes=corners[part], labels=labels[part]) for part in (slice(2), slice(2, 3))]
    made = criterion(num_classes=3, **options) if made is None else made
    proposals = Proposals(scores(6, 5), boxes(6, 5), selected=True)
    return made(predictions(6, 0, -1), truths, [SHAPE] * 2, proposals, Denoising(predictions(8, 10, 9), 2))


@pytest.mark.parametrize('shipped', [False, True], ids=['options', 'native'])
def test_all_losses_are_those_of_the_release(shipped: bool) -> None:
    """With two options of the criterion, and with the settings of the shipped native detector."""
    made = ours('s', 3).bbox_head.criterion() if shipped else None
    losses = evaluate(made, keep_every_object=False, loss_ddf=DDFLoss(normalizer='rank'))
    expected = {
        f'{prefix}{term}': value
        for prefix, values in GOLDEN.items()
        for term, value in zip(TERMS, values)
        if value is not None
    }
    assert losses.keys() == expected.keys()
    for key, value in expected.items():
        # A small divergence is a difference of larger float32 numbers on both sides.
        assert losses[key].item() == pytest.approx(value, rel=5e-4 if 'ddf' in key else 2e-5), key


def test_defaults_differ_in_the_objects_that_the_union_keeps_alone() -> None:
    """On one process the defaults are the release's: in these images no object loses its queries."""
    released, ours = evaluate(keep_every_object=False, loss_ddf=DDFLoss(normalizer='rank')), evaluate()
    for key, value in released.items():
        torch.testing.assert_close(ours[key], value, msg=lambda text, key=key: f'{key}: {text}')


def test_balance_by_the_denoising_queries_is_not_the_release() -> None:
    own = evaluate(keep_every_object=False, loss_ddf=DDFLoss(normalizer='rank', denoising_counts='own'))
    assert abs(own['d0.dn_loss_ddf'].item() / GOLDEN['d0.dn_'][4] - 1) > 0.01
