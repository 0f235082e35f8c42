"""The CutMix view: rectangles by hand, images of different size, the same mix for targets, and refusals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.utils.build import build
from kd_plugins.views import BaseView, CutMix

GREY = dict(type='kd_plugins.PhotometricView', preset='light', jitter_prob=0.0, grey_prob=1.0)


def view_of(**settings: Any) -> CutMix:
    view = CutMix(**{'prob': 1.0, **settings})
    view.bind(None)
    return view


def numbered(count: int = 4, height: int = 24, width: int = 32) -> Tensor:
    """Images that hold their number in each pixel."""
    return torch.arange(float(count)).view(-1, 1, 1, 1).expand(count, 3, height, width).contiguous()


def pictures(count: int = 4, height: int = 24, width: int = 32) -> Tensor:
    return 255 * torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_each_image_gets_one_rectangle_of_the_previous_image() -> None:
    images = numbered()
    for seed in range(20):
        mixed = view_of(area=(0.1, 0.3))(images, None, seed)
        for number, image in enumerate(mixed[:, 0]):
            pasted = image != number
            assert set(image[pasted].tolist()) == {float((number - 1) % 4)}
            rows, columns = pasted.any(1).nonzero().flatten(), pasted.any(0).nonzero().flatten()
            height, width = (int(place[-1] - place[0]) + 1 for place in (rows, columns))
            assert int(pasted.sum()) == height * width, 'the pixels form a rectangle'
            assert 0.07 < height * width / (24 * 32) < 0.35 and 0.2 < height / width < 4


def test_share_of_the_images() -> None:
    images = numbered(400, 8, 8)
    mixed = (view_of(prob=0.25)(images, None, 3) != images).flatten(1).any(1)
    assert 70 < int(mixed.sum()) < 130
    assert torch.equal(view_of(prob=0.0)(images, None, 3), images)


def test_a_single_image_stays() -> None:
    images = pictures(1)
    assert torch.equal(view_of()(images, None, 0), images)


def test_the_other_view_changes_both_parts_first() -> None:
    images = pictures()
    grey = view_of(view=GREY, prob=0.0)(images, None, 5)
    assert torch.equal(grey[:, 0], grey[:, 1]) and not torch.equal(grey, images)
    mixed = view_of(view=GREY)(images, None, 5)
    assert torch.equal(mixed, view_of().mix(grey, images, None, 5)) and not torch.equal(mixed, grey)


def test_seed_alone_decides() -> None:
    images = pictures()
    state, first = torch.random.get_rng_state(), view_of(view=GREY)(images, None, 7)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(view_of(view=GREY)(images, None, 7), first)
    assert not torch.equal(view_of(view=GREY)(images, None, 8), first)


def test_padding_is_neither_pasted_nor_covered() -> None:
    sizes = [(24, 12), (10, 32), (24, 32)]
    samples = [SimpleNamespace(metainfo={'img_shape': size}) for size in sizes]
    images = torch.full((3, 3, 24, 32), -1.0)
    for number, (height, width) in enumerate(sizes):
        images[number, :, :height, :width] = number
    touched = torch.zeros(3, dtype=torch.bool)
    for seed in range(30):
        mixed = view_of(area=(0.2, 0.8))(images, samples, seed)
        assert torch.equal(mixed == -1, images == -1)
        for number in range(3):
            rows, columns = (mixed[number, 0] != images[number, 0]).nonzero().unbind(1)
            previous = sizes[number - 1]
            assert not len(rows) or (int(rows.max()) < previous[0] and int(columns.max()) < previous[1])
            touched[number] |= len(rows) > 0
    assert touched.all()


@pytest.mark.parametrize('stride', [1, 2, 4, 8])
def test_maps_are_mixed_as_the_images(stride: int) -> None:
    """A network that reads the first pixel of each cell predicts the mixed prediction on the mixed image."""
    images, view = pictures(), view_of()

    def network(inputs: Tensor) -> Tensor:
        cells = inputs[..., ::stride, ::stride]
        return torch.cat([cells.sin(), cells.square()], dim=1)

    clean = network(images)
    labels, confidence = clean.argmax(1, keepdim=True), clean.softmax(1).amax(1, keepdim=True)
    for seed in range(10):
        logits, label, sure = (view.mix(maps, images, None, seed) for maps in (clean, labels, confidence))
        assert torch.equal(network(view(images, None, seed)), logits)
        assert torch.equal(label[:, 0], logits.argmax(1)) and torch.equal(sure[:, 0], logits.softmax(1).amax(1))


def test_is_built_from_a_config() -> None:
    view = build(MODELS, dict(type='kd_plugins.CutMix', view=dict(GREY, channel_order='rgb')), BaseView, 'student_view')
    assert isinstance(view, CutMix) and view.mixes and view.channel_order == 'rgb' and view.on == ('unlabelled',)
    assert view.view is not None and not view.view.mixes and CutMix().channel_order == 'auto'


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(on='labelled'), r"^student_view\.on is 'labelled'; CutMix mixes images .* valid: 'unlabelled'"),
        (dict(prob=2), r'^student_view\.prob is 2; it must be at most 1, such as 0\.5'),
        (dict(area=(0.5, 0.1)), r'^student_view\.area is \(0\.5, 0\.1\); it must be two numbers in order'),
        (dict(ratio=(0, 1)), r'^student_view\.ratio is \(0, 1\); it must be two numbers in order, greater than 0'),
        (dict(view=dict(GREY, on='unlabelled')), r"^student_view\.view\.on is 'unlabelled'; leave it out"),
        (dict(view=dict(GREY, hue=2)), r'^student_view\.view\.hue is 2; it must be at most 0\.5'),
        (dict(view=dict(type='kd_plugins.CutMix')), r"^student_view\.view\.type is 'CutMix', which mixes images as"),
        (dict(view=3), r"^student_view\.view is 3; give a dict with 'type'"),
    ],
)
def test_refusals(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CutMix(**settings)


def test_inputs_that_cannot_be_mixed() -> None:
    with pytest.raises(ConfigError, match=r'gives \(2, 3\), and CutMix needs images of shape \(N, C, H, W\)'):
        view_of()(torch.zeros(2, 3), None, 0)
    samples = [SimpleNamespace(gt_sem_seg=None), SimpleNamespace(gt_sem_seg=1)]
    with pytest.raises(ConfigError, match='the unlabelled images have gt_sem_seg; leave LoadAnnotations out of'):
        view_of()(pictures(2), samples, 0)
