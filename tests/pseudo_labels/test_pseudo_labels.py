"""Labels from predictions: detectors, instance masks and poses, their losses, monitors and state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.structures import InstanceData

from kd_plugins.errors import ConfigError
from kd_plugins.pseudo_labels import PseudoLabels
from kd_plugins.registry import MODELS
from kd_plugins.utils.build import build
from tests.pseudo_labels.networks import DETECTORS, POSES, detector, images, persons, pose, predicted, total
from tests.ranks import on_two_ranks


def median(predictions: list[Any]) -> float:
    return float(torch.cat([one.pred_instances.scores for one in predictions]).median())


@pytest.mark.parametrize('name', DETECTORS)
def test_boxes_are_the_confident_predictions_and_give_a_loss(name: str) -> None:
    model = detector(name)
    inputs, samples = images(model)
    predictions = predicted(model, inputs, samples)
    score = median(predictions)
    pseudo = PseudoLabels(score_thr=score)
    made = pseudo(predictions, samples)
    for sample, prediction, source in zip(made, predictions, samples):
        found = prediction.pred_instances
        sides = found.bboxes[:, 2:] - found.bboxes[:, :2]
        keep = (found.scores >= score) & (sides > 0.01).all(dim=1)
        order = found.scores[keep].argsort(descending=True, stable=True)
        truth = sample.gt_instances
        torch.testing.assert_close(truth.bboxes, found.bboxes[keep][order], atol=1e-4, rtol=0)
        assert torch.equal(truth.labels, found.labels[keep][order]) and truth.labels.dtype == torch.long
        assert sample.metainfo.keys() == source.metainfo.keys() and len(source.gt_instances) == 0
        height, width = sample.img_shape
        assert (truth.bboxes <= torch.tensor([width, height, width, height])).all() and (truth.bboxes >= 0).all()
        assert 'pred_instances' not in sample
    assert sum(len(sample.gt_instances) for sample in made) > 0
    loss = total(model.loss(inputs, made))
    loss.backward()
    assert loss.isfinite() and any(param.grad is not None and param.grad.any() for param in model.parameters())


@pytest.mark.parametrize('name', DETECTORS)
def test_images_without_labels_are_all_background(name: str) -> None:
    model = detector(name)
    inputs, samples = images(model)
    pseudo = PseudoLabels(score_thr=1.0)
    made = pseudo(predicted(model, inputs, samples), samples)
    for sample in made:
        assert sample.gt_instances.bboxes.shape == (0, 4) and sample.gt_instances.labels.shape == (0,)
        assert name != 'mask' or sample.gt_instances.masks.masks.shape == (0, *sample.batch_input_shape)
    loss = total(model.loss(inputs, made))
    loss.backward()
    assert loss.isfinite() and all(
        param.grad.isfinite().all() for param in model.parameters() if param.grad is not None
    )
    assert {name: float(value) for name, value in pseudo.monitors().items()} == {'kept': 0.0, 'empty': 1.0}


def test_masks_have_the_size_of_the_padded_input_and_the_place_of_the_prediction() -> None:
    model = detector('mask')
    inputs, samples = images(model)
    predictions = predicted(model, inputs, samples)
    for sample, prediction in zip(PseudoLabels(score_thr=0.0)(predictions, samples), predictions):
        truth, found = sample.gt_instances, prediction.pred_instances
        height, width = sample.img_shape
        assert truth.masks.masks.shape == (len(truth), *sample.batch_input_shape) and len(truth) > 0
        sides = found.bboxes[:, 2:] - found.bboxes[:, :2]
        kept = found[(sides > 0.01).all(dim=1)]
        kept = kept[kept.scores.argsort(descending=True, stable=True)]
        assert np.array_equal(truth.masks.masks[:, :height, :width], kept.masks[:, :height, :width].numpy())
        assert not truth.masks.masks[:, height:].any() and not truth.masks.masks[:, :, width:].any()


class Sample:
    """The part of a data sample that labels need."""

    def __init__(self, metainfo: dict[str, Any]) -> None:
        self.metainfo = metainfo


def prediction(scores: list[float], labels: list[int] | None = None, width: float = 10.0) -> Any:
    sample = Sample({'img_shape': (50, 50)})
    starts = 2.0 * torch.arange(len(scores))
    boxes = torch.stack([starts, starts, starts + width, starts + width], dim=1)
    classes = torch.tensor(labels or [0] * len(scores))
    sample.pred_instances = InstanceData(bboxes=boxes, scores=torch.tensor(scores), labels=classes)  # type: ignore[attr-defined]
    return sample


def made(pseudo: PseudoLabels, *predictions: Any) -> list[tuple[list[float], list[int]]]:
    """Return left edges and labels of each image."""
    samples = [Sample({'img_shape': (50, 50)}) for _ in predictions]
    return [
        (one.gt_instances.bboxes[:, 0].tolist(), one.gt_instances.labels.tolist())
        for one in pseudo(predictions, samples)
    ]


def test_selection() -> None:
    one = prediction([0.6, 0.9, 0.8, 0.3], [0, 0, 1, 1])
    assert made(PseudoLabels(0.5), one) == [([2.0, 4.0, 0.0], [0, 1, 0])]
    assert made(PseudoLabels(0.5, max_per_img=2), one) == [([2.0, 4.0], [0, 1])]
    assert made(PseudoLabels(0.5, nms=0.4), one) == [([2.0, 4.0], [0, 1])], 'another class is not suppressed'
    assert made(PseudoLabels({0: 0.7, 'others': 0.2}), one) == [([2.0, 4.0, 6.0], [0, 1, 1])]
    assert made(PseudoLabels(0.0, min_size=10.0), one) == [([], [])]
    outside = prediction([0.9], width=100.0)
    pseudo = PseudoLabels(0.5)
    (clipped,) = pseudo([outside], [Sample({'img_shape': (30, 40)})])
    assert clipped.gt_instances.bboxes.tolist() == [[0.0, 0.0, 40.0, 30.0]]


def test_classes_by_name_and_monitors() -> None:
    pseudo = PseudoLabels({'cat': 0.7, 'others': 0.2})
    with pytest.raises(ConfigError, match="names the class 'cat', and the data set has no names of classes"):
        made(pseudo, prediction([0.5]))
    pseudo.bind(torch.nn.Identity(), {'classes': ('dog', 'cat')})
    assert made(pseudo, prediction([0.5, 0.5], [0, 1]), prediction([0.1])) == [([0.0], [0]), ([], [])]
    assert {name: float(value) for name, value in pseudo.monitors().items()} == {'kept': 0.5, 'empty': 0.5}


def test_adaptive_thresholds_and_their_state() -> None:
    config = dict(type='adaptive', queue=8, initial=0.3, expected=False)
    whole, cut = PseudoLabels(dict(config)), PseudoLabels(dict(config))
    for pseudo in (whole, cut):
        pseudo.bind(torch.nn.Identity(), {'classes': ('dog', 'cat')})
    first = prediction([0.35, 0.25], [1, 1])
    assert made(whole, first) == made(cut, first) == [([0.0], [1])], 'few scores: the initial threshold'
    state = cut.state_dict()
    resumed = PseudoLabels(dict(config))
    resumed.load_state_dict(state)
    second = prediction([0.1, 0.12, 0.8, 0.9, 0.91, 0.92], [1] * 6)
    assert made(whole, second) == made(resumed, second)
    assert whole.state_dict()['values'] == resumed.state_dict()['values']
    monitors = whole.monitors()
    assert set(monitors) == {'kept', 'empty', 'score_thr.cat'} and 0.8 < float(monitors['score_thr.cat']) < 0.92
    assert len(whole.state_dict()['scores'][1]) == 8
    many = PseudoLabels(dict(config))
    made(many, prediction([0.5] * 9, list(range(9))))
    assert set(many.monitors()) == {'kept', 'empty', 'score_thr.min', 'score_thr.mean', 'score_thr.max'}
    empty = PseudoLabels(dict(config))
    empty.load_state_dict(whole.state_dict())
    empty.load_state_dict({'scores': {}, 'values': {}})
    assert empty.state_dict() == {'scores': {}, 'values': {}}, 'a state without scores takes the scores away'


def test_an_image_keeps_as_many_as_the_sum_of_its_scores() -> None:
    pseudo = PseudoLabels(dict(type='adaptive', initial=0.0))
    assert made(pseudo, prediction([0.9, 0.8, 0.2, 0.1]), prediction([0.2, 0.2])) == [([0.0, 2.0], [0, 0]), ([], [])]


def _thresholds() -> dict[int, float]:
    pseudo = PseudoLabels(dict(type='adaptive', expected=False))
    scores = [[0.1, 0.15, 0.9], [0.85, 0.95, 0.12, 0.2, 0.88], []]
    own = scores[dist.get_rank() :: 2] if dist.is_initialized() else scores
    made(pseudo, *(prediction(one) for one in own))
    return dict(pseudo.state_dict()['values'])


def test_ranks_share_their_scores(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, _thresholds)
    assert first == second == _thresholds() and 0.8 < first[0] < 1


@pytest.mark.parametrize('name', POSES)
def test_keypoints_are_the_predicted_ones_and_give_a_loss(name: str) -> None:
    model = pose(name)
    inputs, samples = persons()
    predictions = predicted(model, inputs, samples)
    scores = np.stack([one.pred_instances.keypoint_scores[0] for one in predictions])
    pseudo = PseudoLabels(score_thr=float(min(np.median(scores), 1.0)))
    pseudo.bind(model)
    labelled = pseudo(predictions, samples)
    for sample, one in zip(labelled, predictions):
        found = one.pred_instances
        inside = (found.keypoints - sample.input_center) / sample.input_scale + 0.5
        shown = (found.keypoint_scores >= np.float32(np.median(scores))) & ((inside >= 0) & (inside < 1)).all(-1)
        assert np.array_equal(sample.gt_instances.keypoints_visible > 0, shown)
        np.testing.assert_allclose(sample.gt_instances.keypoints, found.keypoints[..., :2])
        weights = sample.gt_instance_labels.keypoint_weights
        assert not weights.numpy()[~shown].any()
        assert 'keypoints' not in samples[0].gt_instances
    loss = total(model.loss(inputs, labelled))
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize('name', POSES)
def test_targets_are_at_the_predicted_places(name: str) -> None:
    model = pose(name)
    inputs, samples = persons()
    predictions = predicted(model, inputs, samples)
    pseudo = PseudoLabels(score_thr=0.0)
    pseudo.bind(model)
    (first, _) = pseudo(predictions, samples)
    places = (predictions[0].pred_instances.keypoints[0] - first.input_center) / first.input_scale + 0.5
    weights = first.gt_instance_labels.keypoint_weights[0] > 0
    if name == 'simcc':
        columns = first.gt_instance_labels.keypoint_x_labels[0].argmax(dim=-1) / first.input_size[0] / 2
    elif name == 'rle':
        columns = first.gt_instance_labels.keypoint_labels[0, :, 0]
    else:
        columns = first.gt_fields.heatmaps.amax(dim=1).argmax(dim=-1) / 4
    wrong = (columns - torch.as_tensor(places[:, 0])).abs()[weights] > (0.2 if name == 'heatmap' else 0.02)
    assert weights.any() and not wrong.any()


@pytest.mark.parametrize('name', POSES)
def test_persons_without_visible_keypoints_have_a_finite_loss(name: str) -> None:
    model = pose(name)
    inputs, samples = persons()
    predictions = predicted(model, inputs, samples)
    for one in predictions:
        one.pred_instances.keypoint_scores[:] = 0.1
    pseudo = PseudoLabels(score_thr=0.5)
    pseudo.bind(model)
    labelled = pseudo(predictions, samples)
    assert not any(sample.gt_instance_labels.keypoint_weights.any() for sample in labelled)
    losses = model.loss(inputs, labelled)
    loss = total(losses)
    loss.backward()
    assert loss.isfinite() and float(pseudo.monitors()['empty']) == 1.0


def test_what_a_pose_estimator_needs() -> None:
    model = pose('heatmap')
    inputs, samples = persons()
    predictions = predicted(model, inputs, samples)
    with pytest.raises(ConfigError, match=r'the student is not known, .* call bind\(student\)'):
        PseudoLabels()(predictions, samples)
    pseudo = PseudoLabels()
    pseudo.bind(model)
    samples[0].set_metainfo({'input_center': 0})
    del samples[0].input_center
    with pytest.raises(ConfigError, match="the data samples have no 'input_center', which only top-down estimators"):
        pseudo(predictions, samples)
    model.head.decoder = None
    with pytest.raises(ConfigError, match=r"model.head of 'TopdownPoseEstimator' has no decoder"):
        pseudo(predictions, persons()[1])


def test_other_predictions_are_refused() -> None:
    with pytest.raises(ConfigError, match='the teacher predicts Sample without boxes or keypoints'):
        PseudoLabels()([Sample({})], [Sample({})])
    rotated = prediction([0.5])
    rotated.pred_instances.bboxes = torch.zeros(1, 5)
    with pytest.raises(ConfigError, match=r'the teacher predicts boxes of shape \(1, 5\)'):
        made(PseudoLabels(), rotated)


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'score_thr': 1.5}, 'unlabelled.pseudo.score_thr is 1.5; it must be from 0 to 1'),
        ({'score_thr': {}}, 'score_thr is an empty dict'),
        ({'score_thr': {'cat': 2}}, 'score_thr.cat is 2'),
        ({'score_thr': {'type': 'gmm'}}, "score_thr.type is 'gmm'; valid: 'adaptive'"),
        ({'score_thr': {'type': 'adaptive', 'length': 3}}, "score_thr has no setting 'length'"),
        ({'score_thr': {'type': 'adaptive', 'queue': 3}}, 'score_thr.queue is 3'),
        ({'score_thr': {'type': 'adaptive', 'least': 1}}, 'score_thr.least is 1'),
        ({'min_size': -1}, 'min_size is -1'),
        ({'max_per_img': 0}, 'max_per_img is 0'),
        ({'nms': 1.0}, 'nms is 1.0; it must be None or between 0 and 1'),
        ({'score': 0.5}, "PseudoLabels has no argument 'score'"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build(MODELS, {'type': 'kd_plugins.PseudoLabels', **settings}, PseudoLabels, 'unlabelled.pseudo')
