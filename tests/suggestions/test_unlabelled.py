"""Entries for images without labels."""

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from torch import nn

from kd_plugins.suggestions import unlabelled
from kd_plugins.suggestions.recipe import Unsuitable

from .networks import GFL, RTMDET, STEPS, pair, part


def test_the_pipeline_loses_its_labels_and_the_steps_that_need_them():
    entry = unlabelled.unlabelled_scores(pair(bbox_head=GFL, pipeline=STEPS))
    pipeline = entry['unlabelled']['dataloader']['dataset']['pipeline']
    assert [step['type'] for step in pipeline] == ['LoadImageFromFile', 'mmdet.Resize', 'PackDetInputs']


def test_the_pipeline_of_segmentors_runs_on_an_image_without_labels(tmp_path):
    """``cat_max_ratio``, which nearly all configs of MMSegmentation have, reads the labels of the crop."""
    pytest.importorskip('mmseg.datasets')
    from mmcv.transforms import Compose
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cv2 = pytest.importorskip('cv2')
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((32, 40, 3), np.uint8))
    crop = dict(type='RandomCrop', crop_size=(16, 16), cat_max_ratio=0.75)
    resize = dict(type='RandomResize', scale=(80, 64), ratio_range=(0.5, 2.0), keep_ratio=True)
    names = 'LoadImageFromFile', 'LoadAnnotations', resize, crop, 'PhotoMetricDistortion', 'RandomFlip', 'PackSegInputs'
    steps = [dict(type=name) if isinstance(name, str) else name for name in names]
    steps[5]['prob'] = 0.5
    steps.insert(4, dict(type='RandomChoice', transforms=[[crop], [crop]]))
    entry = unlabelled.unlabelled_pixels(pair(decode_head=part('FCNHead', 'BaseDecodeHead'), pipeline=steps))
    kept = entry['unlabelled']['dataloader']['dataset']['pipeline']
    with DefaultScope.overwrite_default_scope('mmseg'):
        packed = Compose(kept)(dict(img_path=str(tmp_path / 'a.png')))
    assert packed['inputs'].shape == (3, 16, 16)
    assert [step['type'] for step in kept] == [*names[:1], 'RandomResize', 'RandomCrop', 'RandomChoice', *names[5:]]


@pytest.mark.parametrize(
    'names',
    [
        ['LoadMultipleRSImageFromFile', 'LoadAnnotations', 'PackSegInputs'],  # two images of one place
        ['UniformRefFrameSample', 'PackTrackInputs'],
        ['LoadImageFromFile', 'LoadAnnotations', 'RandomFlip', 'MultiBranch'],
    ],
)
def test_a_pipeline_of_other_items_than_images_is_no_pipeline_of_images(names):
    with pytest.raises(Unsuitable, match='neither begins with LoadImageFromFile nor ends with PackDetInputs'):
        unlabelled.unlabelled_scores(pair(bbox_head=GFL, pipeline=[dict(type=name) for name in names]))


def test_all_distillers_look_at_the_unlabelled_images_alone():
    for head in (GFL, RTMDET):
        entry = unlabelled.unlabelled_scores(pair(bbox_head=head, pipeline=STEPS))
        assert {distiller['on'] for distiller in entry['distillers'].values()} == {'unlabelled'}
        assert all('select' in distiller for distiller in entry['distillers'].values())
        assert entry['unlabelled']['weight']['begin'] == 4.0


def test_queries_have_a_lower_threshold_than_proposals():
    queries = unlabelled.pseudo_labels(pair(bbox_head=part('DINOHead', 'DETRHead')))
    proposals = unlabelled.pseudo_labels(pair(roi_head=nn.Identity()))
    assert queries['unlabelled']['pseudo']['score_thr'] < proposals['unlabelled']['pseudo']['score_thr']
    assert not queries['distillers']


def test_pixels_are_mixed():
    entry = unlabelled.unlabelled_pixels(pair(decode_head=part('FCNHead', 'BaseDecodeHead')))
    assert entry['student_view']['type'] == 'kd_plugins.CutMix'
    assert entry['distillers']['pixels']['target'] == 'hard'


def test_a_trained_teacher_is_heard_from_the_start():
    taught = pair(teacher_features='neck.fpn_convs.*', bbox_head=GFL, pipeline=STEPS)
    weight = unlabelled.unlabelled_scores(taught)['unlabelled']['weight']
    assert 'begin' not in weight and weight['end'] == 0.6


def test_a_choice_among_steps_without_labels_stays():
    """MMDetection's DETRs change the size of an image in a ``RandomChoice`` alone."""
    resize = dict(type='RandomChoiceResize', scales=[(480, 1333)], keep_ratio=True)
    crop = dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True)
    choice = dict(type='RandomChoice', transforms=[[resize], [resize, crop, resize]])
    labelled = dict(type='RandomChoice', transforms=[[resize], [dict(type='CopyPaste')]])
    entry = unlabelled.unlabelled_scores(pair(bbox_head=GFL, pipeline=[STEPS[0], choice, labelled, STEPS[-1]]))
    assert entry['unlabelled']['dataloader']['dataset']['pipeline'] == [STEPS[0], choice, STEPS[-1]]
