from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.ops import photometric as ops
from kd_plugins.registry import MODELS
from kd_plugins.utils.build import build
from kd_plugins.views import BaseView, PhotometricView

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
NOTHING = dict(preset='light', jitter_prob=0.0, grey_prob=0.0)
"""A view in which no operation happens; a test switches one on."""


def view_of(preprocessor: Any = None, **settings: Any) -> PhotometricView:
    view = PhotometricView(**settings)
    view.bind(preprocessor)
    return view


def pictures(count: int = 4, channels: int = 3, height: int = 24, width: int = 32) -> Tensor:
    """Images with values from 0 to 255 in the order B, G, R."""
    return 255 * torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def changed(view: Tensor, inputs: Tensor) -> list[bool]:
    return (view != inputs).flatten(1).any(1).tolist()


def test_is_built_from_a_config() -> None:
    config = dict(type='kd_plugins.PhotometricView', preset='light', on=['labelled', 'unlabelled'], hue=0.2)
    view = build(MODELS, config, BaseView, 'student_view')
    assert isinstance(view, PhotometricView) and view.settings.hue == 0.2 and view.on == ('labelled', 'unlabelled')
    with pytest.raises(
        ConfigError, match=r"student_view: PhotometricView has no argument 'brightnes'; nearest: 'brigh"
    ):
        build(MODELS, dict(type='kd_plugins.PhotometricView', brightnes=0.2), BaseView, 'student_view')


def test_seed_alone_decides() -> None:
    view, inputs = view_of(), pictures()
    torch.manual_seed(1)
    first = view(inputs, None, 7)
    torch.manual_seed(2)
    assert torch.equal(view_of()(inputs, None, 7), first)
    assert not torch.equal(view(inputs, None, 8), first)
    assert view(inputs, None, 2**32 - 1).shape == inputs.shape


def test_generators_of_the_run_and_inputs_are_untouched() -> None:
    inputs = pictures()
    before = inputs.clone()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    result = view_of()(inputs, None, 0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1] and random.getstate() == states[2]
    assert torch.equal(inputs, before) and result.data_ptr() != inputs.data_ptr()


def test_grey_is_that_of_the_picture() -> None:
    """The channels are B, G, R here, and their order decides the weights."""
    inputs = pictures()
    result = view_of(**{**NOTHING, 'grey_prob': 1.0})(inputs, None, 0)
    expected = 0.114 * inputs[:, 0] + 0.587 * inputs[:, 1] + 0.299 * inputs[:, 2]
    torch.testing.assert_close(result, expected[:, None].expand_as(inputs), atol=1e-3, rtol=0)


@pytest.mark.parametrize('swap', [True, False])
def test_normalised_view_is_the_view_of_the_picture(swap: bool) -> None:
    bgr = pictures()
    mean, std = (MEAN, STD) if swap else (MEAN[::-1], STD[::-1])
    preprocessor = ImgDataPreprocessor(mean=mean, std=std, bgr_to_rgb=swap)
    inputs = preprocessor(dict(inputs=list(bgr)))['inputs']
    result = view_of(preprocessor)(inputs, None, 3)
    expected = preprocessor(dict(inputs=list(view_of()(bgr, None, 3))))['inputs']
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def test_one_operation_is_that_function() -> None:
    inputs = pictures(1)
    rgb = inputs.flip(1) / 255
    jitter = {**NOTHING, 'jitter_prob': 1.0, 'brightness': 0.0, 'contrast': 0.0, 'saturation': 0.0, 'hue': 0.0}
    for name, operation, middle in [
        ('brightness', ops.brightness, 1.0),
        ('contrast', ops.contrast, 1.0),
        ('saturation', ops.saturation, 1.0),
        ('hue', ops.hue, 0.0),
    ]:
        result = view_of(**{**jitter, name: 0.3})(inputs, None, 5).flip(1) / 255
        shifts = middle + torch.linspace(-0.3, 0.3, 601)
        errors = (operation(rgb.expand(601, -1, -1, -1), shifts) - result).abs().amax((1, 2, 3))
        assert errors.min() < 2e-3 and errors[300] > 2e-3, name  # one factor of the range, and not the middle
    blurred = view_of(**NOTHING | {'blur_prob': 1.0, 'blur_sigma': (1.3, 1.3)})(inputs, None, 0)
    torch.testing.assert_close(blurred.flip(1) / 255, ops.gaussian_blur(rgb, torch.tensor([1.3]), 4))


def test_each_image_has_its_own_order() -> None:
    """Brightness and contrast do not commute, so equal factors in another order give another image."""
    inputs = pictures(1).expand(64, -1, -1, -1)
    settings = {**NOTHING, 'jitter_prob': 1.0, 'saturation': 0.0, 'hue': 0.0}
    view = view_of(**settings)
    view.settings = type(view.settings)(**{**vars(view.settings), 'brightness': 0.0, 'contrast': 0.0})
    assert not any(changed(view(inputs, None, 0).round(), inputs.round()))
    many = view_of(**settings)(inputs, None, 0)
    assert len(many.flatten(1).unique(dim=0)) == 64


def test_erasing_fills_rectangles_with_noise() -> None:
    inputs = torch.zeros(200, 3, 40, 50)
    erasing = dict(prob=0.5, area=(0.1, 0.3), ratio=(0.5, 2.0))
    result = view_of(**NOTHING, erasings=[erasing])(inputs, None, 0)
    erased = (result > 0).any(1)
    hit = erased.flatten(1).any(1)
    assert 70 < hit.sum() < 130
    for mask in erased[hit]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert mask.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert 0.08 < mask.float().mean() < 0.33
    noise = result.permute(0, 2, 3, 1)[erased]
    assert abs(noise.mean() - 127.5) < 1 and abs(noise.std() - 255 / 12**0.5) < 1
    assert noise.min() >= 0 and noise.max() <= 255


def test_padding_keeps_its_values() -> None:
    inputs = pictures(16) / 64 - 2
    sizes = [(24, 32), (20, 32), (24, 10), (7, 9)] * 4
    samples = [SimpleNamespace(metainfo={'img_shape': size}) for size in sizes]
    outside = torch.ones(16, 24, 32, dtype=torch.bool)
    for mask, (height, width) in zip(outside, sizes):
        mask[:height, :width] = False
    outside = outside[:, None].expand_as(inputs)
    preprocessor = ImgDataPreprocessor(mean=MEAN, std=STD, bgr_to_rgb=True)
    view = view_of(preprocessor, blur_prob=1.0, jitter_prob=1.0)
    result = view(inputs, samples, 0)
    assert torch.equal(result[outside], inputs[outside])
    assert all(changed(result, inputs))
    other = inputs.masked_fill(outside, 1e4)  # what lies outside does not reach the picture
    torch.testing.assert_close(view(other, samples, 0)[~outside], result[~outside])


def test_min_easy_leaves_images_exactly_as_they_are() -> None:
    inputs = pictures(400, height=6, width=6)
    preprocessor = ImgDataPreprocessor(mean=MEAN, std=STD)
    unchanged = 400 - sum(changed(view_of(preprocessor, jitter_prob=1.0, min_easy=0.3)(inputs, None, 0), inputs))
    assert 90 < unchanged < 150
    assert not any(changed(view_of(preprocessor, min_easy=1.0)(inputs, None, 0), inputs))
    assert not any(changed(view_of(preprocessor, **NOTHING)(inputs, None, 0), inputs))


@pytest.mark.parametrize('channels', [1, 4])
def test_other_channels_have_no_colour(channels: int) -> None:
    inputs = pictures(8, channels)
    assert not any(changed(view_of(**{**NOTHING, 'grey_prob': 1.0})(inputs, None, 0).round(), inputs.round()))
    assert any(changed(view_of()(inputs, None, 0), inputs))
    preprocessor = ImgDataPreprocessor(mean=[100.0], std=[50.0])
    assert view_of(preprocessor)(inputs, None, 0).shape == inputs.shape


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    preprocessor = ImgDataPreprocessor(mean=MEAN, std=STD, bgr_to_rgb=True)
    inputs = preprocessor(dict(inputs=list(pictures())))['inputs'].to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        result = view_of(preprocessor)(inputs, None, 0)
    assert result.dtype == dtype
    torch.testing.assert_close(result, view_of(preprocessor)(inputs.float(), None, 0).to(dtype))


def test_an_image_does_not_depend_on_the_rest_of_the_batch() -> None:
    inputs = pictures(6)
    view = view_of(erasings=[])
    result = view(inputs, None, 0)
    inputs[1:] = 0
    torch.testing.assert_close(view(inputs, None, 0)[0], result[0])


def test_no_gradient_and_empty_batches() -> None:
    inputs = pictures().requires_grad_()
    assert not view_of()(inputs, None, 0).requires_grad
    assert view_of()(pictures(0), [], 0).shape == (0, 3, 24, 32)


@pytest.mark.parametrize(
    'inputs, message',
    [
        (
            torch.zeros(1, 1, 4, 4, 4),
            r'student_view: the data_preprocessor gives \(1, 1, 4, 4, 4\), and a photometric ',
        ),
        (
            [torch.zeros(3, 4, 4)],
            r'student_view: the data_preprocessor gives list, and a photometric view needs images',
        ),
        (
            torch.zeros(1, 4, 4, 4),
            r'student_view: data_preprocessor\.mean has 3 numbers and the images have 4 channels;',
        ),
    ],
)
def test_inputs_that_are_no_images(inputs: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        view_of(ImgDataPreprocessor(mean=MEAN, std=STD))(inputs, None, 0)


def test_bind_comes_first() -> None:
    with pytest.raises(ConfigError, match=r'student_view: PhotometricView was called before bind'):
        PhotometricView()(pictures(), None, 0)


def test_unknown_channel_order() -> None:
    with pytest.raises(ConfigError, match=r"student_view\.channel_order is 'RGB'; .*'rgb'"):
        PhotometricView(channel_order='RGB')
