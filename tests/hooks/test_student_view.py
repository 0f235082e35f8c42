"""The view of a run: its seeds and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers.base import Batch
from kd_plugins.distillers.sources import alias_beside
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.student_view import StudentView, build_views
from kd_plugins.utils.calls import ForwardCall
from kd_plugins.views import BaseView, CutMix
from tests.hooks.tiny_runs import TinyGap, losses_of
from tests.hooks.unlabelled_runs import NOISE, NoiseView

BOTH = ('labelled', 'unlabelled')
IMAGES = torch.zeros(2, 3, 4, 4)


def forward(inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> None: ...


def viewed(view: BaseView, iteration: int = 0, images: str = 'labelled', inputs: Any = IMAGES, seed: int = 0) -> Any:
    return StudentView(dict.fromkeys(view.on, view), None, seed).inputs(
        ForwardCall(forward, (inputs,), {}), iteration, images
    )


def test_each_pass_of_each_iteration_has_its_seed() -> None:
    view = NoiseView(BOTH)
    first = viewed(view)
    assert torch.equal(viewed(view), first)
    others = [viewed(view, iteration=1), viewed(view, images='unlabelled'), viewed(view, seed=1)]
    assert not any(torch.equal(other, first) for other in others)


def test_other_images_stay() -> None:
    assert viewed(NoiseView('unlabelled')) is IMAGES and viewed(NoiseView('labelled'), images='unlabelled') is IMAGES


def test_the_view_reads_the_preprocessor() -> None:
    class Bound(NoiseView):
        def bind(self, preprocessor: Any) -> None:
            bound.append(preprocessor)

    bound: list[Any] = []
    view = Bound(BOTH)
    StudentView(dict.fromkeys(view.on, view), preprocessor := torch.nn.Identity(), 0)
    assert bound == [preprocessor]


def test_sentences() -> None:
    class Cropped(BaseView):
        def __call__(self, inputs: Tensor, samples: Any, seed: int) -> Tensor:
            return inputs[..., 1:]

    with pytest.raises(ConfigError, match=r'Cropped returned the shape \(2, 3, 4, 3\) for inputs of \(2, 3, 4, 4\)'):
        viewed(Cropped('labelled'))
    with pytest.raises(ConfigError, match='the inputs of the labelled images are dict; use student_view=None'):
        viewed(NoiseView('labelled'), inputs={'voxels': 1})
    with pytest.raises(ConfigError, match="student_view.on is 'labeled'"):
        build_views({**NOISE, 'on': 'labeled'})
    with pytest.raises(ConfigError, match=r"student_view.labelled.on is 'unlabelled'; leave it out"):
        build_views({'labelled': {**NOISE, 'on': 'unlabelled'}})
    with pytest.raises(ConfigError, match="student_view is {'labeled'.*give a dict with 'type'"):
        build_views({'labeled': NOISE})


def test_both_kinds_of_images_may_have_a_view_of_their_own() -> None:
    views = build_views({'labelled': NOISE, 'unlabelled': None})
    assert list(views) == ['labelled'] and views['labelled'].key == 'student_view.labelled'
    first, second = build_views({'labelled': NOISE, 'unlabelled': NOISE}).values()
    assert first is not second and (first.on, second.on) == (('labelled',), ('unlabelled',))
    shared = build_views({**NOISE, 'on': BOTH})
    assert shared['labelled'] is shared['unlabelled'] and build_views(None) == {}


def test_a_view_of_labelled_images_needs_no_other_images(tmp_path: Any) -> None:
    view = {**NOISE, 'on': ('labelled',)}
    plain = losses_of(tmp_path / 'plain', [])
    losses = losses_of(tmp_path / 'run', [DistillHook({}, student_view=view)])
    assert all(a['loss_task'] != b['loss_task'] for a, b in zip(plain, losses))
    again = losses_of(tmp_path / 'again', [DistillHook({}, student_view=view)])
    assert again == losses


def test_targets_are_mixed_as_the_images() -> None:
    images = torch.rand(3, 3, 16, 24)
    batch, outputs = Batch(images, None, iteration=4), {'tap': [images, images[..., ::2, ::2]]}
    view = CutMix(prob=1.0)
    bound = StudentView({'unlabelled': view}, None, 0)
    mixed = bound.inputs(ForwardCall(forward, (images,), {}), 4, 'unlabelled')
    targets = bound.targets(outputs, batch, TinyGap())
    assert torch.equal(targets['tap'][0], mixed) and torch.equal(targets['tap'][1], mixed[..., ::2, ::2])
    assert not torch.equal(mixed, images)
    other = bound.targets(outputs, Batch(images, None, iteration=5), TinyGap())
    assert not torch.equal(other['tap'][0], mixed)


def test_targets_of_a_view_that_mixes_nothing_stay() -> None:
    outputs, batch = {'tap': [torch.zeros(2, 5)]}, Batch(IMAGES, None)
    for views in ({}, {'unlabelled': NoiseView()}):
        assert StudentView(views, None, 0).targets(outputs, batch, TinyGap()) is outputs


@pytest.mark.parametrize('shape', [(2, 5), (3, 5, 4, 4), (2, 5, 4, 7), (2, 5, 1, 1), (2, 5, 4, 4, 4)])
def test_targets_that_are_no_maps(shape: tuple[int, ...]) -> None:
    bound = StudentView({'unlabelled': CutMix()}, None, 0)
    with pytest.raises(ConfigError, match=f"'second' of distillers.a gives {re.escape(str(shape))}; use type="):
        bound.targets(
            {alias_beside('b', 'tap'): [torch.zeros(shape)]}, Batch(IMAGES, None), TinyGap(key='distillers.a')
        )
