"""Photometric distortion: torchvision's ranges and order by histogram, and values against operations on tensors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')

from kd_plugins.datasets.detection_transforms import RandomPhotometricDistort
from kd_plugins.datasets.detection_transforms.photometric import OPERATIONS
from kd_plugins.errors import ConfigError
from kd_plugins.ops import photometric as on_tensors

RANGES = {'brightness': (0.875, 1.125), 'contrast': (0.5, 1.5), 'saturation': (0.5, 1.5), 'hue': (-0.05, 0.05)}


def image(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 20, channels), dtype=np.uint8)


@pytest.mark.parametrize(('name', 'value'), [(name, value) for name in RANGES for value in RANGES[name]])
def test_values_are_those_of_the_operations_on_tensors(name: str, value: float) -> None:
    """Those agree with kornia and torchvision (tests/ops/test_photometric.py); here values are rounded to bytes."""
    pixels = torch.from_numpy(image()[..., ::-1].transpose(2, 0, 1).copy())[None].double() / 255
    expected = getattr(on_tensors, name)(pixels, torch.tensor([value]))[0].permute(1, 2, 0).numpy()[..., ::-1] * 255
    changed = OPERATIONS[name](image(), value)
    # The luma is rounded to a byte before it is blended.
    assert changed.dtype == np.uint8 and np.abs(changed - expected).max() <= (1.0 if name == 'saturation' else 0.51)


def test_each_operation_is_drawn_from_its_range_in_half_of_the_images() -> None:
    np.random.seed(0)
    distort = RandomPhotometricDistort()
    drawn: dict[str, list[float]] = {name: [] for name in RANGES}
    first, permuted = Counter[bool](), 0
    for _ in range(4000):
        steps, permutation = distort.draw(3)
        names = [name for name, _ in steps]
        for name, value in steps:
            drawn[name].append(value)
        if {'contrast', 'saturation', 'hue'} <= set(names):
            assert names.index('saturation') < names.index('hue')
            assert names.index('contrast') != names.index('hue') - 1
            first[names.index('contrast') < names.index('saturation')] += 1
        permuted += permutation is not None
    for name, (low, high) in RANGES.items():
        values = np.array(drawn[name])
        assert abs(len(values) / 4000 - 0.5) < 0.03
        assert low <= values.min() and values.max() <= high
        counts, _ = np.histogram(values, bins=5, range=(low, high))
        assert np.abs(counts / len(values) - 0.2).max() < 0.03
    assert abs(permuted / 4000 - 0.5) < 0.03 and abs(first[True] / sum(first.values()) - 0.5) < 0.1


def test_images_stay_bytes_and_permutations_move_whole_channels() -> None:
    np.random.seed(0)
    distort = RandomPhotometricDistort(prob=1.0)
    for _ in range(20):
        results = distort({'img': image()})
        assert results['img'].dtype == np.uint8 and results['img'].shape == (16, 20, 3)
    still = RandomPhotometricDistort((1, 1), (1, 1), (1, 1), (0, 0), prob=1.0)
    changed = still({'img': image()})['img'].astype(int)
    assert sorted(changed.sum((0, 1))) == pytest.approx(sorted(image().astype(int).sum((0, 1))), abs=4)
    assert (RandomPhotometricDistort(prob=0.0)({'img': image()})['img'] == image()).all()
    assert distort({'img': image(4)})['img'].shape == (16, 20, 4)
    assert distort({'img': image(1)[..., 0]})['img'].shape == (16, 20), 'as loaded with color_type=grayscale'


@pytest.mark.parametrize(('settings', 'named'), [({'hue': (-1, 1)}, 'hue'), ({'prob': None}, 'prob is None')])
def test_mistakes_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        RandomPhotometricDistort(**settings)
    with pytest.raises(ConfigError, match='float32 and not bytes'):
        RandomPhotometricDistort()({'img': image().astype(np.float32)})
