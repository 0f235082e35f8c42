"""Expected values come from kornia 0.9.0, colorsys, SciPy and OpenCV.

torchvision 0.29 gives the same within 1e-4: it rounds the weights of the luma to 0.2989, 0.587 and 0.114.
"""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_plugins.ops.photometric import (
    blend,
    brightness,
    contrast,
    gaussian_blur,
    gaussian_kernels,
    grey,
    hue,
    luma,
    saturation,
)

PIXELS = [[0.2, 0.4, 0.9], [0.8, 0.1, 0.3], [0.5, 0.5, 0.5], [1.0, 0.0, 0.7]]


def image(pixels: list[list[float]]) -> Tensor:
    return torch.tensor(pixels).t().reshape(1, 3, 2, 2)


def random_images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    'operation, value, expected',
    [
        # kornia.enhance.adjust_brightness_accumulative
        (brightness, 1.3, [[0.26, 0.52, 1.0], [1.0, 0.13, 0.39], [0.65, 0.65, 0.65], [1.0, 0.0, 0.91]]),
        # kornia.enhance.adjust_contrast_with_mean_subtraction
        (
            contrast,
            1.3,
            [
                [0.139392, 0.399392, 1.0],
                [0.919392, 0.009393, 0.269393],
                [0.529392, 0.529392, 0.529392],
                [1.0, 0.0, 0.789392],
            ],
        ),
        # kornia.enhance.adjust_saturation_with_gray_subtraction
        (
            saturation,
            0.4,
            [[0.31832, 0.39832, 0.59832], [0.51926, 0.23926, 0.31926], [0.5, 0.5, 0.5], [0.62728, 0.22728, 0.50728]],
        ),
        # kornia.enhance.adjust_hue, which takes radians
        (hue, 0.1, [[0.42, 0.2, 0.9], [0.8, 0.32, 0.1], [0.5, 0.5, 0.5], [1.0, 0.0, 0.1]]),
        (hue, -0.3, [[0.26, 0.9, 0.2], [0.1, 0.16, 0.8], [0.5, 0.5, 0.5], [0.0, 0.5, 1.0]]),
        # kornia.color.rgb_to_grayscale
        (lambda x, _: grey(x), 0.0, [[0.3972] * 3, [0.3321] * 3, [0.5] * 3, [0.3788] * 3]),
    ],
)
def test_is_kornia(operation, value: float, expected: list[list[float]]) -> None:
    torch.testing.assert_close(operation(image(PIXELS), torch.tensor([value])), image(expected), atol=2e-6, rtol=0)


def test_is_installed_kornia() -> None:
    enhance = pytest.importorskip('kornia.enhance')
    filters = pytest.importorskip('kornia.filters')
    images = random_images(4, 3, 17, 23)
    factors = torch.tensor([0.0, 0.6, 1.0, 1.8])
    same = {'atol': 2e-6, 'rtol': 0}
    torch.testing.assert_close(
        brightness(images, factors), enhance.adjust_brightness_accumulative(images, factors), **same
    )
    torch.testing.assert_close(
        contrast(images, factors), enhance.adjust_contrast_with_mean_subtraction(images, factors), **same
    )
    torch.testing.assert_close(
        saturation(images, factors), enhance.adjust_saturation_with_gray_subtraction(images, factors), **same
    )
    shifts = factors / 4 - 0.25
    torch.testing.assert_close(hue(images, shifts), enhance.adjust_hue(images, shifts * 2 * torch.pi), **same)
    sigmas = torch.tensor([0.1, 0.7, 1.4, 2.0])
    blurred = filters.gaussian_blur2d(images, (13, 13), sigmas[:, None].expand(-1, 2), border_type='reflect')
    torch.testing.assert_close(gaussian_blur(images, sigmas, 6), blurred, **same)


def test_hue_is_that_of_colorsys() -> None:
    images = random_images(5, 3, 4, 6)
    images[:, :, 0, :3] = torch.tensor([0.0, 0.5, 1.0])  # black, grey, white
    images[:, 0, 1] = images[:, 1, 1]  # two equal channels
    shifts = torch.tensor([0.0, 0.1, 0.5, -0.5, -0.2])
    expected = torch.empty_like(images)
    for index, shift in enumerate(shifts.tolist()):
        for y, x in np.ndindex(4, 6):
            h, s, v = colorsys.rgb_to_hsv(*images[index, :, y, x].tolist())
            expected[index, :, y, x] = torch.tensor(colorsys.hsv_to_rgb((h + shift) % 1, s, v))
    torch.testing.assert_close(hue(images, shifts), expected, atol=2e-6, rtol=0)


def test_each_image_has_its_factor() -> None:
    images = random_images(3, 3, 5, 7)
    factors = torch.tensor([0.3, 1.0, 1.6])
    for operation in (brightness, contrast, saturation, hue):
        together = operation(images, factors)
        apart = torch.cat([operation(images[i : i + 1], factors[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(together, apart)
        assert together.min() >= 0 and together.max() <= 1


@pytest.mark.parametrize('operation', [brightness, contrast, saturation])
def test_factor_one_and_zero(operation) -> None:
    images = random_images(1, 3, 4, 4)
    assert torch.equal(operation(images, torch.ones(1)), images)
    constant = operation(images, torch.zeros(1))
    assert torch.allclose(constant, constant.mean(1, keepdim=True))


def test_contrast_counts_valid_pixels_only() -> None:
    images = random_images(2, 3, 6, 8)
    valid = torch.zeros(2, 1, 6, 8, dtype=torch.bool)
    valid[:, :, :4, :5] = True
    alone = contrast(images[:, :, :4, :5], torch.tensor([0.4, 1.5]))
    images[~valid.expand_as(images)] = 1e6
    torch.testing.assert_close(contrast(images, torch.tensor([0.4, 1.5]), valid)[:, :, :4, :5], alone)


def test_luma_of_other_channels_is_the_mean() -> None:
    images = random_images(2, 5, 3, 3)
    torch.testing.assert_close(luma(images), images.mean(1, keepdim=True))
    assert luma(images[:, :1]).equal(images[:, :1])


def test_blend_is_clamped() -> None:
    assert blend(torch.tensor([0.9]).view(1, 1, 1, 1), torch.zeros(1), torch.tensor([2.0])).item() == 1


def test_kernels_have_the_sum_one() -> None:
    kernels = gaussian_kernels(torch.tensor([0.0, 0.1, 1.0, 20.0]), 6)
    torch.testing.assert_close(kernels.sum(1), torch.ones(4))
    assert kernels[0].tolist() == [0.0] * 6 + [1.0] + [0.0] * 6


def test_blur_is_that_of_scipy() -> None:
    ndimage = pytest.importorskip('scipy.ndimage')
    images, sigmas = random_images(4, 2, 9, 14), torch.tensor([0.1, 0.8, 1.5, 2.0])
    expected = [
        ndimage.gaussian_filter(one.numpy(), sigma, axes=(1, 2), mode='mirror', radius=6)
        for one, sigma in zip(images, sigmas.tolist())
    ]
    torch.testing.assert_close(
        gaussian_blur(images, sigmas, 6), torch.from_numpy(np.stack(expected)), atol=2e-6, rtol=0
    )


def test_blur_is_that_of_opencv() -> None:
    cv2 = pytest.importorskip('cv2')
    image = random_images(1, 3, 20, 15)
    expected = cv2.GaussianBlur(
        image[0].permute(1, 2, 0).numpy(), (13, 13), 1.3, sigmaY=1.3, borderType=cv2.BORDER_REFLECT_101
    )
    blurred = gaussian_blur(image, torch.tensor([1.3]), 6)[0].permute(1, 2, 0)
    torch.testing.assert_close(blurred, torch.from_numpy(expected), atol=2e-6, rtol=0)


@pytest.mark.parametrize('size', [(5, 9), (1, 4), (2, 1)])
def test_blur_does_not_read_padding(size: tuple[int, int]) -> None:
    height, width = size
    images, sigmas = random_images(2, 3, 8, 11), torch.tensor([0.7, 2.0])
    alone = gaussian_blur(images[:, :, :height, :width], sigmas, 6)
    images[:, :, height:], images[:, :, :, width:] = 1e6, 1e6
    padded = gaussian_blur(images, sigmas, 6, torch.tensor([size, size]))
    torch.testing.assert_close(padded[:, :, :height, :width], alone)
