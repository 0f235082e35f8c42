"""Images for another network: its normalisation against that of preprocessors, its size against pooling."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kd_plugins.ops.foreign_images import fit_images, network_size, renormalise
from kd_plugins.ops.normalisation import Normalisation, read_normalisation

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
RTMDET = dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395])
LITE = dict(mean=[127.5] * 3, std=[127.5] * 3)
ORDERS = [(IMAGENET, True), (RTMDET, False), (LITE, True), (dict(mean=None, std=None), False)]


@pytest.mark.parametrize('given, swaps', ORDERS)
@pytest.mark.parametrize('wanted, wanted_swaps', ORDERS)
def test_it_is_the_batch_of_the_other_preprocessor(given: Any, swaps: bool, wanted: Any, wanted_swaps: bool) -> None:
    """Pictures of different sizes, padded, against what MMDetection's preprocessor makes of the same files."""
    preprocessors = pytest.importorskip('mmdet.models.data_preprocessors')
    structures = pytest.importorskip('mmdet.structures')
    generator = torch.Generator().manual_seed(0)
    sizes = [(40, 70), (64, 33)]
    files = [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]

    def batch(settings: Any, swap: bool) -> Any:
        samples = [structures.DetDataSample(metainfo=dict(img_shape=size)) for size in sizes]
        module = preprocessors.DetDataPreprocessor(bgr_to_rgb=swap, pad_size_divisor=32, **settings)
        return module, module({'inputs': files, 'data_samples': samples}, False)

    student, mine = batch(given, swaps)
    other, expected = batch(wanted, wanted_swaps)
    assert mine['inputs'].shape == (2, 3, 64, 96)
    images = renormalise(
        mine['inputs'],
        mine['data_samples'],
        read_normalisation(student, 'auto', 'teacher'),
        read_normalisation(other, 'auto', 'teacher'),
    )
    torch.testing.assert_close(images, expected['inputs'], atol=1e-3 if wanted['std'] is None else 1e-5, rtol=1e-5)
    assert not images[0, :, 40:].any() and not images[1, :, :, 33:].any()


def test_precision_and_device_of_the_student() -> None:
    one = Normalisation(torch.full((3, 1, 1), 127.5), torch.full((3, 1, 1), 127.5), bgr=False)
    inputs = torch.rand(2, 3, 8, 8).bfloat16()
    samples = [SimpleNamespace(metainfo={'img_shape': (8, 8)})] * 2
    with torch.autocast('cpu', dtype=torch.bfloat16):
        images = renormalise(inputs, samples, one, one)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, inputs.float())


@pytest.mark.parametrize(
    'size, pool, patch, expected',
    [
        ((64, 96), 1, 1, (64, 96)),
        ((64, 96), 2, 16, (32, 48)),
        ((65, 97), 1, 1, (65, 97)),
        ((65, 97), 2, 1, (33, 49)),
        ((800, 1344), 1, 14, (798, 1344)),
        ((240, 320), 2, 16, (128, 160)),
        ((9, 9), 2, 16, (16, 16)),
    ],
)
def test_sizes(size: tuple[int, int], pool: int, patch: int, expected: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *size)
    fitted = fit_images(images, pool, patch)
    assert fitted.shape[2:] == expected
    assert all(network_size(side, pool, patch) % patch == 0 for side in size)
    if expected == size:
        assert fitted is images


def test_pooling_is_the_mean_of_squares() -> None:
    images = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(fit_images(images, 2, 16), F.avg_pool2d(images, 2, 2))
    constant = torch.full((1, 3, 50, 70), 0.25)
    torch.testing.assert_close(fit_images(constant, 2, 16), torch.full((1, 3, 32, 32), 0.25))


def test_a_grid_covers_the_whole_image() -> None:
    """Interpolated, the left half of the image stays the left half of the grid of patches."""
    images = torch.zeros(1, 1, 80, 100)
    images[..., :50] = 1.0
    fitted = fit_images(images, 1, 14)
    assert fitted.shape[2:] == (84, 98)
    torch.testing.assert_close(fitted[0, 0, 40].sum(), torch.tensor(49.0), atol=0.5, rtol=0.0)
