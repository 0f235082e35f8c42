"""Number of waits of the criterion for the device, which does not depend on the batch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from .far_device import DEVICE, FarDevice, FarTensor

pytest.importorskip('mmdet')

from mmdet.models.losses import QualityFocalLoss

from kd_plugins.models.dfine import Criterion, Denoising, Predictions, Proposals

from .dfine.common import BINS, criterion, evaluate, predictions, truths

QUERIES, GROUPS = 25, 2
# Device to host: the matching costs of all sets and images. Host to device: the sizes of the images, the normalisers,
# and a constant in each call of MMDetection's GIoU loss, one for the matching and one for the denoising queries.
WAITS = Counter({'device to host': 1, 'host to device': 4})


def inputs(numbers: list[int], layers: int, device: Any, noised: bool = True, agnostic: bool = False) -> dict[str, Any]:
    """Return what the criterion takes, with proposals."""

    def move(parts: Predictions) -> Predictions:
        return Predictions(*(part.detach().to(device).requires_grad_() for part in parts))

    images, width = len(numbers), 2 * GROUPS * max(numbers)
    proposed = move(predictions(1, images, QUERIES, seed=1))
    denoising = Denoising(move(predictions(layers, images, width, seed=2)), GROUPS if width else 0)
    objects = [
        InstanceData(bboxes=actual.bboxes.to(device), labels=actual.labels.to(device)) for actual in truths(numbers)
    ]
    return dict(
        outputs=move(predictions(layers, images, QUERIES)),
        objects=objects,
        proposals=Proposals(proposed.initial_scores, proposed.initial_boxes, selected=not agnostic),
        denoising=denoising if noised else None,
    )


def run(made: Criterion, parts: dict[str, Any]) -> dict[str, Tensor]:
    losses = evaluate(made, **parts)
    torch.stack(list(losses.values())).sum().backward()
    return losses


def waits(numbers: list[int], layers: int = 2, settings: dict[str, Any] | None = None, **options: Any) -> Counter[str]:
    """Count the waits of one forward and backward pass."""
    with FarDevice() as far:
        made = criterion(bins=BINS.float().to(DEVICE), **(settings or {}))
        parts = inputs(numbers, layers, DEVICE, **options)
        far.waits.clear()
        run(made, parts)
        assert all(isinstance(part.grad, FarTensor) for part in parts['outputs'])
    return far.waits


@pytest.mark.parametrize('layers', [2, 6])
@pytest.mark.parametrize('numbers', [[1], [20], [1, 1, 1, 1], [20, 20, 20, 20], [20, 0, 3, 1]], ids=str)
def test_the_number_of_waits_is_fixed(numbers: list[int], layers: int) -> None:
    assert waits(numbers, layers) == WAITS


@pytest.mark.parametrize('layers', [2, 6])
@pytest.mark.parametrize('numbers', [[0], [0, 0, 0, 0]], ids=str)
def test_without_objects_there_is_no_box_loss_to_wait_for(numbers: list[int], layers: int) -> None:
    assert waits(numbers, layers) == WAITS - Counter({'host to device': 2})


@pytest.mark.parametrize(
    'options',
    [
        dict(noised=False),
        dict(agnostic=True),
        dict(settings=dict(matching='own')),
        dict(settings=dict(keep_every_object=False)),
        dict(settings=dict(loss_ddf=None)),
        dict(settings=dict(loss_cls=QualityFocalLoss())),
    ],
    ids=str,
)
def test_it_is_fixed_whatever_the_config(options: dict[str, Any]) -> None:
    actual = waits([1], 2, **options)
    assert actual == waits([20, 0, 3, 1], 6, **options)
    # MMDetection's QualityFocalLoss looks for the matched queries: once for the matching, once for the denoising ones.
    assert actual['nonzero'] == (2 if 'loss_cls' in options.get('settings', {}) else 0)
    assert sum(actual.values()) <= sum(WAITS.values()) + 2


def test_the_far_device_computes_what_the_host_does() -> None:
    with FarDevice():
        far = inputs([3, 0, 2], 3, DEVICE)
        actual = run(criterion(bins=BINS.float().to(DEVICE)), far)
    near = inputs([3, 0, 2], 3, 'cpu')
    for key, value in run(criterion(), near).items():
        torch.testing.assert_close(actual[key].near, value.detach())
    for one, other in zip(far['outputs'], near['outputs']):
        torch.testing.assert_close(one.grad.near, other.grad)


def test_the_counter_counts() -> None:
    with FarDevice() as far:
        values = torch.arange(3, device=DEVICE)
        assert not far.waits and values.device == DEVICE
        values[values > 0] = 0
        values[values > 0].sum()
        values.nonzero()
        values.unique()
        assert torch.equal(values, values)
        assert not values.sum() > 0
        assert values.sum().item() == 0
        values.cpu()
        values.new_tensor([1, 2, 3])
        torch.tensor([1, 2, 3], device=DEVICE)
        torch.ones(3).to(DEVICE)
        torch.ones(3).to(DEVICE, non_blocking=True)
        values.copy_(torch.ones(3))
        torch.ones(3).copy_(values)
    assert far.waits == {
        'boolean index': 2,
        'nonzero': 1,
        '_unique2': 1,
        'equal': 1,
        '_local_scalar_dense': 2,
        'device to host': 2,
        'host to device': 4,
    }


def test_the_far_device_takes_no_host_tensors() -> None:
    with FarDevice():
        values = torch.ones(3, device=DEVICE)
        assert (values + torch.tensor(1.0)).device == DEVICE
        with pytest.raises(AssertionError, match=r'a host tensor of shape \(3,\)'):
            values + torch.ones(3)
