"""One picture through a transform of another package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.views.steps import ModuleStep, PipelineStep, build_step
from tests.views.transforms import Brighter

PICTURE = torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(0))


def test_kinds_of_steps() -> None:
    assert isinstance(build_step(dict(type='Brighter'), 'x'), PipelineStep)
    assert isinstance(build_step(Brighter(), 'x'), PipelineStep)
    assert isinstance(build_step(nn.Identity(), 'x'), ModuleStep)
    step = build_step(dict(type=nn.Threshold, threshold=0.5, value=0.0), 'x')
    assert isinstance(step, ModuleStep) and (step.key, step.name) == ('x', 'Threshold')
    assert torch.equal(step(PICTURE), PICTURE * (PICTURE > 0.5))


def test_a_step_of_a_pipeline_that_changes_nothing_rounds_to_bytes() -> None:
    result = PipelineStep(lambda results: results, 'x')(PICTURE)
    torch.testing.assert_close(result, (255 * PICTURE).round() / 255)


def test_grey_pictures_are_not_reversed() -> None:
    seen: list[Any] = []

    def watching(results: dict[str, Any]) -> dict[str, Any]:
        seen.append(results['img'])
        return results

    result = PipelineStep(watching, 'x')(PICTURE[:2])
    assert np.array_equal(seen[0], (255 * PICTURE[:2]).round().byte().permute(1, 2, 0).numpy())
    torch.testing.assert_close(result, PICTURE[:2], atol=0.5 / 255, rtol=0)


def test_labels_in_place_are_noticed() -> None:
    def moving(results: dict[str, Any]) -> dict[str, Any]:
        results['keypoints'] += 1
        return results

    with pytest.raises(ConfigError, match='x: function changes positions'):
        PipelineStep(moving, 'x')(PICTURE)


def test_a_module_must_return_an_image() -> None:
    class Pair(nn.Module):
        def forward(self, images: Tensor) -> Any:
            return images, 1

    with pytest.raises(ConfigError, match=r'x: Pair returns tuple for an image of \(3, 6, 8\)'):
        ModuleStep(Pair(), 'x')(PICTURE)


def test_without_kornia(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, 'kornia', None)
    monkeypatch.setitem(sys.modules, 'kornia.augmentation', None)
    with pytest.raises(ConfigError, match=r"x.type is 'kornia.ColorJiggle', and kornia cannot be imported"):
        build_step(dict(type='kornia.ColorJiggle'), 'x')
