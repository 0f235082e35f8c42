"""The closed form of the mixing weight: the least error of a linear learner, and the outputs of two checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor, nn

from kd_plugins.diagnostics.mixing_weight import MixingWeight, measure_mixing
from kd_plugins.errors import ConfigError


def test_kernel_ridge_regression_fits_validation_labels_best_with_it() -> None:
    generator = torch.Generator().manual_seed(0)
    points, others = (torch.rand(count, 1, generator=generator).double() for count in (12, 30))

    def truth(x: Tensor) -> Tensor:
        return (6 * x).sin().squeeze(1)

    labels = truth(points) + 0.3 * torch.randn(12, generator=generator).double()
    validation = truth(others)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (-20 * (a - b.T).square()).exp()

    inverse = torch.linalg.inv(kernel(points, points) + 0.05 * torch.eye(12).double())

    def outputs(targets: Tensor, at: Tensor) -> Tensor:
        return kernel(at, points) @ inverse @ targets

    previous = outputs(labels, points)
    weight = MixingWeight()
    parts = zip(validation.chunk(3), outputs(labels, others).chunk(3), outputs(previous, others).chunk(3))
    for part in parts:
        weight.add(*part)

    def error(alpha: float) -> float:
        mixed = outputs(alpha * labels + (1 - alpha) * previous, others)
        return float((mixed - validation).square().sum())

    assert math.isfinite(weight.value)
    assert all(error(weight.value) < error(weight.value + step) for step in (-1e-2, 1e-2, -0.5, 0.5))


def test_equal_outputs_have_no_weight() -> None:
    weight = MixingWeight()
    weight.add(*(torch.ones(3) for _ in range(3)))
    assert math.isnan(weight.value)


class Pixels(nn.Module):
    """A segmentor of two classes whose logits are its bias."""

    def __init__(self, labelled: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))
        self.labelled = labelled

    def test_step(self, batch: Any) -> list[BaseDataElement]:
        sample = BaseDataElement()
        sample.seg_logits = PixelData(data=self.bias.detach()[:, None, None].expand(2, 1, 3).clone())
        if self.labelled:
            sample.gt_sem_seg = PixelData(data=batch)
        return [sample]


def stub(model: nn.Module, path: Path) -> Any:
    """Return what a runner holds that tests a model, and write a second checkpoint with other weights."""
    torch.save({'state_dict': {'bias': torch.tensor([0.0, math.log(3.0)])}}, path)
    return SimpleNamespace(
        model=model, load_or_resume=lambda: None, test_dataloader=[torch.tensor([[[1, 0, 255]]])] * 2
    )


def test_two_checkpoints_over_labelled_pixels(tmp_path: Path) -> None:
    path = tmp_path / 'distilled.pth'
    weight = measure_mixing(stub(Pixels(), path), str(path))
    # Plain (.5, .5), distilled (.25, .75); labels 1 and 0, and an ignored pixel; two batches.
    product = 2 * sum((one - other) * step for one, other, step in ((0, 0.25, 0.25), (1, 0.75, -0.25)))
    product += 2 * sum((one - other) * step for one, other, step in ((1, 0.25, 0.25), (0, 0.75, -0.25)))
    square = 2 * 2 * 2 * 0.25**2
    assert weight.product == pytest.approx(product) and weight.square == pytest.approx(square)
    assert weight.value == pytest.approx(product / square)


def test_a_model_without_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'distilled.pth'
    with pytest.raises(ConfigError, match='Pixels gives no class probabilities of labelled pixels'):
        measure_mixing(stub(Pixels(labelled=False), path), str(path))
