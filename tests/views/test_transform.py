"""The view of transforms of other packages: their images, their seeds, padding, and what is refused."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.utils.build import build
from kd_plugins.views import BaseView, TransformView
from tests.views.transforms import Brighter, Shuffled

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def view_of(*transforms: Any, preprocessor: Any = None, **settings: Any) -> TransformView:
    view = TransformView(transforms, **settings)
    view.bind(preprocessor)
    return view


def pictures(count: int = 3, height: int = 24, width: int = 32) -> Tensor:
    """Whole numbers from 0 to 255 in the order B, G, R."""
    return torch.randint(256, (count, 3, height, width), generator=torch.Generator().manual_seed(0)).float()


def test_is_built_from_a_config() -> None:
    config = dict(type='kd_plugins.TransformView', transforms=[dict(type='Brighter', share=0.5)], on='labelled')
    view = build(MODELS, config, BaseView, 'student_view')
    assert isinstance(view, TransformView) and view.on == ('labelled',) and view.steps[0].transform.share == 0.5


@pytest.mark.parametrize('swap', [True, False])
def test_a_module_gets_the_picture_in_rgb(swap: bool) -> None:
    seen: list[Tensor] = []

    class Watching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.clone())
            return images * torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1)

    bgr = pictures()
    preprocessor = ImgDataPreprocessor(mean=MEAN, std=STD, bgr_to_rgb=swap)
    inputs = preprocessor(dict(inputs=list(bgr)))['inputs']
    view = view_of(Watching(), preprocessor=preprocessor)
    seen.clear()
    result = view(inputs, None, 0)
    torch.testing.assert_close(torch.cat(seen), bgr.flip(1) / 255, atol=1e-6, rtol=0)
    expected = preprocessor(dict(inputs=list(bgr * torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1))))['inputs']
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def test_a_transform_of_a_pipeline_gets_bytes_in_bgr() -> None:
    inputs = pictures()
    view = view_of(dict(type='Brighter', share=1.0))
    Brighter.seen.clear()
    result = view(inputs, None, 0)
    for array, picture in zip(Brighter.seen, inputs, strict=True):
        assert array.dtype == np.uint8 and np.array_equal(array, picture.permute(1, 2, 0).numpy())
    torch.testing.assert_close(result, (inputs + 50).clamp(max=255), atol=1e-3, rtol=0)


def test_seed_alone_decides_and_the_generators_of_the_run_stay() -> None:
    inputs = pictures(4)
    before = inputs.clone()
    view = view_of(dict(type='Brighter', share=0.5), nn.Dropout(0.2))
    torch.manual_seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = view(inputs, None, 7)
    assert torch.equal(torch.get_rng_state(), states[0]) and torch.equal(inputs, before)
    assert np.random.get_state()[1].tolist() == states[1] and random.getstate() == states[2]
    torch.manual_seed(2)
    assert torch.equal(view(inputs, None, 7), first) and not torch.equal(view(inputs, None, 8), first)
    assert not torch.equal((first == 0)[0], (first == 0)[1]), 'each image has its own draw'


def test_transforms_see_no_padding_and_padding_stays() -> None:
    inputs = pictures(2)
    inputs[1, :, 16:] = inputs[1, :, :, 20:] = -7.0
    samples = [SimpleNamespace(metainfo={'img_shape': (24, 32)}), SimpleNamespace(metainfo={'img_shape': (16, 20)})]
    Brighter.seen.clear()
    view = view_of(dict(type='Brighter', share=1.0))
    Brighter.seen.clear()
    result = view(inputs, samples, 0)
    assert [array.shape for array in Brighter.seen] == [(24, 32, 3), (16, 20, 3)]
    assert torch.equal(result[1, :, 16:], inputs[1, :, 16:]) and torch.equal(result[1, :, :, 20:], inputs[1, :, :, 20:])
    assert (result[1, :, :16, :20] != inputs[1, :, :16, :20]).any()


def test_half_precision_and_results_out_of_range() -> None:
    class Wild(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 4 * images - 1

    inputs = pictures(1)
    result = view_of(Wild())(inputs.half(), None, 0)
    assert result.dtype == torch.float16
    torch.testing.assert_close(result.float(), (4 * inputs - 255).clamp(0, 255), atol=0.5, rtol=0)


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ([], r"student_view.transforms is \[\]; give a list such as \[dict\(type='mmdet.PhotoMetricDistortion'"),
        ([3], r'student_view.transforms\[0\] is 3; give a dict such as'),
        ([dict(type='Brightr')], r"student_view.transforms\[0\].type is 'Brightr', which is not"),
        ([dict(type='Brighter', shar=1.0)], r"transforms\[0\]: Brighter has no argument 'shar'; nearest: 'share'"),
        ([dict(type='Brighter'), dict(type='Flipped')], r'transforms\[1\]: Flipped changes positions, and'),
        ([dict(type='FlippedBoxes')], r'transforms\[0\]: FlippedBoxes changes positions, and'),
        ([dict(type='Halved')], r'transforms\[0\]: Halved changes positions, and'),
        ([dict(type='Mixing')], r"transforms\[0\]: Mixing fails on a picture with KeyError: 'mix_results'"),
        ([Shuffled()], r'transforms\[0\]: Shuffled gives two results for one seed'),
        ([nn.AvgPool2d(2)], r'transforms\[0\]: AvgPool2d returns \(3, 64, 64\) for an image of \(3, 128, 128\)'),
        ([dict(type='kornia.augmentation.Nothing')], r"transforms\[0\].type is 'kornia.augmentation.Nothing', "),
    ],
)
def test_sentences(settings: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        TransformView(settings)


def test_a_call_before_bind_is_refused() -> None:
    with pytest.raises(ConfigError, match='TransformView was called before bind'):
        TransformView([nn.Identity()])(pictures(), None, 0)


def test_photometric_distortion_of_mmdetection() -> None:
    transforms = pytest.importorskip('mmdet.datasets.transforms')
    inputs = pictures(2)
    view = view_of(dict(type='mmdet.PhotoMetricDistortion'))
    result = view(inputs, None, 11)
    assert torch.equal(view(inputs, None, 11), result) and not torch.equal(result, inputs)
    np.random.seed(11)
    distortion = transforms.PhotoMetricDistortion()
    for picture, changed in zip(inputs, result):
        array = distortion.transform(dict(img=picture.permute(1, 2, 0).numpy().astype(np.uint8)))['img']
        expected = torch.from_numpy(array.copy()).permute(2, 0, 1).clamp(0, 255)
        torch.testing.assert_close(changed, expected, atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    'name', ['RandomFlip', 'Resize', 'RandomShift', 'RandomAffine', 'Rotate', 'ShearX', 'TranslateY', 'RandomCrop']
)
def test_transforms_of_mmdetection_that_move_are_refused(name: str) -> None:
    pytest.importorskip('mmdet.datasets.transforms')
    settings = {
        'RandomFlip': dict(prob=0.5),
        'Resize': dict(scale=(64, 64)),
        'RandomShift': dict(max_shift_px=4),
        'RandomCrop': dict(crop_size=(64, 64)),
    }.get(name, {})
    with pytest.raises(ConfigError, match=f'{name} changes positions'):
        TransformView([dict(type=f'mmdet.{name}', **settings)])


@pytest.mark.parametrize('name', ['ColorTransform', 'Equalize', 'AutoContrast', 'Posterize', 'Solarize', 'Invert'])
def test_colours_of_mmdetection_are_taken(name: str) -> None:
    pytest.importorskip('mmdet.datasets.transforms')
    assert view_of(dict(type=f'mmdet.{name}', prob=1.0))(pictures(), None, 0).shape == (3, 3, 24, 32)


def test_modules_of_kornia() -> None:
    pytest.importorskip('kornia.augmentation')
    inputs = pictures(3)
    jitter = dict(type='kornia.ColorJiggle', brightness=0.4, hue=0.1, p=0.8)
    view = view_of(jitter, dict(type='kornia.RandomGaussianBlur', kernel_size=(3, 3), sigma=(0.1, 2.0), p=0.5))
    torch.manual_seed(0)
    result = view(inputs, None, 3)
    torch.manual_seed(1)
    assert torch.equal(view(inputs, None, 3), result) and not torch.equal(view(inputs, None, 4), result)
    red, green, blue = (inputs[:, channel] for channel in (2, 1, 0))
    grey = view_of(dict(type='kornia.RandomGrayscale', p=1.0))(inputs, None, 0)
    torch.testing.assert_close(grey[:, 0], 0.299 * red + 0.587 * green + 0.114 * blue, atol=1e-2, rtol=0)


@pytest.mark.parametrize('name', ['RandomHorizontalFlip', 'RandomRotation', 'RandomMosaic', 'RandomCutMixV2'])
def test_modules_of_kornia_that_move_are_refused(name: str) -> None:
    augmentation = pytest.importorskip('kornia.augmentation')
    settings = {'degrees': 5.0} if name == 'RandomRotation' else {}
    with pytest.raises(ConfigError, match=f'{name} changes positions'):
        TransformView([dict(type=f'kornia.{name}', **settings)])
    with pytest.raises(ConfigError, match=f'{name} changes positions'):
        TransformView([nn.Sequential(nn.Identity(), getattr(augmentation, name)(**settings))])
