"""Constants of RoI heads, and heads that cannot be asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.distillers import Batch, RoIDistiller
from kd_plugins.distillers.roi_heads import RoIHead
from tests.distillers.common import cascade, sentence
from tests.distillers.roi_models import model_of
from tests.distillers.two_steps import small_detector


def read(model: nn.Module, stages: Any = '*') -> RoIHead:
    return RoIHead.of(model, 'roi_head', 'roi.head', 'student', stages, 'roi.stages')


def test_constants() -> None:
    head = read(small_detector(model_of('mask'))[0])
    assert (head.cascade, head.stages, head.weights, head.thresholds) == (False, (0,), (1.0,), (0.5,))
    assert head.num_classes == 3
    assert head.boxes.startswith('a box of each class with DeltaXYWHBBoxCoder, means [0.0, 0.0, 0.0, 0.0] and stds')
    assert head.masks == 'a mask of each class' and not head.no_masks
    assert head.paths('roi_head', 0)['mask_head'] == 'roi_head.mask_head'
    narrow = read(cascade(), stages=[1])
    assert (narrow.cascade, narrow.stages, narrow.weights, narrow.thresholds) == (True, (1,), (1.0, 0.5), (0.5, 0.7))
    assert narrow.boxes.count('one box with') == 2 and narrow.masks == 'no masks'
    assert narrow.paths('roi_head', 1)['bbox_roi_extractor'] == 'roi_head.bbox_roi_extractor.1'


@pytest.mark.parametrize('stages', ['all', (), (2,), (0, 0), (0.5,), -1, None])
def test_stages_that_do_not_exist(stages: Any) -> None:
    with sentence(r"roi.stages is .*, and the head has 2 stages; valid: '\*', or different numbers from 0 to 1"):
        read(cascade(), stages)


def test_a_head_that_was_not_built_for_training() -> None:
    model = small_detector(model_of('faster', train_cfg=None))[0]
    assert read(model).thresholds == (0.5,)


def test_masks_that_cannot_be_compared() -> None:
    whole = small_detector(model_of('mask'))[0]
    for changes, words in (
        ({'roi_head__mask_roi_extractor': None}, 'StandardRoIHead has no mask_roi_extractor of its own'),
        (
            {'roi_head__mask_head__class_agnostic': True},
            'the student predicts a mask of each class and',
        ),
    ):
        other = small_detector(model_of('mask', **changes))[0]
        with sentence(f'distillers.roi.mask is True, and {words}'):
            RoIDistiller(mask=True, key='distillers.roi').check_models(whole, other)
        distiller = RoIDistiller()
        distiller.check_models(whole, other)
        assert distiller.loss_names == ('loss_cls', 'loss_reg')


def test_a_shared_layer_between_extractor_and_head() -> None:
    """The C4 networks have one; the answer equals the call of MMDetection's head."""
    model = small_detector(model_of('faster'))[0]
    model.roi_head.shared_head = nn.Conv2d(16, 16, 3, padding=1)
    distiller = RoIDistiller()
    distiller.check_models(model, model)
    rois = torch.tensor([[0.0, 4.0, 4.0, 40.0, 40.0], [0.0, 10.0, 0.0, 90.0, 60.0]])
    features = model.eval().extract_feat(torch.randn(1, 3, 96, 128))
    answers = distiller.query(model, features, {'rois_0': [rois]}, {}, Batch(None, None))
    expected = model.roi_head._bbox_forward(features, rois)
    torch.testing.assert_close(answers['boxes_0'][0], expected['cls_score'])
