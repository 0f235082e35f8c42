"""Comparison of student, teacher and ground truth: divergences, joints, colours and error sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.distributions import Categorical, Laplace, kl_divergence

from kd_plugins.errors import ConfigError
from kd_plugins.visualization import Pose, compare_keypoints, keypoint_divergence, read_pose
from tests.distillers.keypoint.estimators import JOINTS, SIZE, simcc_head
from tests.visualization.people import METAINFO
from tests.visualization.pose_estimators import HEATMAP, SIMCC, estimator, outputs, person, rle, simcc

pytestmark = pytest.mark.usefixtures('pose_scope')
WIDTH, HEIGHT = SIZE


def test_the_divergence_is_that_of_the_distributions() -> None:
    sample = person()
    teacher, student = simcc(seed=1, beta=3.0), simcc(beta=3.0)
    pairs = zip(outputs(teacher, sample), outputs(student, sample))
    wanted = [kl_divergence(Categorical(logits=3.0 * t), Categorical(logits=3.0 * s)) for t, s in pairs]
    actual = keypoint_divergence(read_pose(teacher, sample), read_pose(student, sample))
    np.testing.assert_allclose(actual, sum(wanted), rtol=1e-4)
    assert actual.min() > 0.1

    teacher, student = rle(1), rle()
    (t,), (s,) = outputs(teacher, sample), outputs(student, sample)
    one, two = (Laplace(value[:, :2], value[:, 2:].sigmoid()) for value in (t, s))
    actual = keypoint_divergence(read_pose(teacher, sample), read_pose(student, sample))
    np.testing.assert_allclose(actual, kl_divergence(one, two).sum(dim=-1), rtol=1e-3)


def test_the_divergence_of_heatmaps_is_finite_and_zero_for_the_same() -> None:
    maps = np.zeros((2, JOINTS, 16, 12))
    maps[0, :, 3, 4], maps[1, :, 9, 7] = 1.0, 1.0
    teacher, student = (
        Pose(np.zeros((JOINTS, 2)), np.ones(JOINTS), (np.arange(12.0), np.arange(16.0)), (actual,)) for actual in maps
    )
    assert keypoint_divergence(teacher, teacher).max() == 0.0
    assert (
        np.isfinite(keypoint_divergence(teacher, student)).all() and keypoint_divergence(teacher, student).min() > 100
    )


def test_the_truth_lies_where_the_pipeline_moves_it() -> None:
    sample = person()
    truth = compare_keypoints(simcc(), sample, METAINFO).truth
    assert truth is not None
    wanted = sample['data_samples'].gt_instances.transformed_keypoints[0]
    np.testing.assert_allclose(truth[[0, 1, 2, 4]], wanted[[0, 1, 2, 4]], atol=1e-3)
    assert np.isnan(truth[3]).all()
    assert compare_keypoints(simcc(), person(keypoints=False), METAINFO).truth is None


def test_the_crop_is_shown_in_the_colours_of_the_photograph() -> None:
    sample = person()
    image = compare_keypoints(simcc(), sample, METAINFO).image
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image[10, 20], sample['inputs'][[2, 1, 0], 10, 20])


def test_joints_are_those_that_differ_most_or_those_asked_for() -> None:
    sample, teacher, student = person(), simcc(seed=1), simcc()
    both = compare_keypoints(student, sample, METAINFO, teacher, top=2)
    assert both.divergence is not None
    assert both.joints == np.argsort(-both.divergence)[:2].tolist() and list(both.poses) == ['teacher', 'student']
    alone = compare_keypoints(student, sample, METAINFO, top=JOINTS)
    assert alone.divergence is None and list(alone.poses) == ['student']
    errors = alone.errors('student')
    assert np.isnan(errors[3]) and alone.joints[-1] == 3
    assert (np.diff(errors[alone.joints[:-1]]) <= 0).all()
    unknown = compare_keypoints(student, person(keypoints=False), METAINFO, top=1)
    assert unknown.joints == [int(unknown.poses['student'].scores.argmin())]
    named = compare_keypoints(student, sample, METAINFO, joints=['4', 'head', 2])
    assert named.joints == [4, 0, 2]


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (dict(joints=['left_hnd']), "joints: 'left_hnd' does not exist; nearest: 'left_hand'"),
        (dict(joints=['5']), "joints: '5' does not exist; valid: 'head', 'left_hand', 'right_hand', .*or 0 to 4"),
        (dict(metainfo={**METAINFO, 'keypoint_id2name': {0: 'head'}}), 'predicts 5 keypoints where the data set has 1'),
        (dict(teacher=nn.Linear(1, 1)), "model.type: 'Linear' of the teacher is not a top-down pose estimator"),
    ],
)
def test_refusals(change: dict[str, Any], sentence: str) -> None:
    arguments = dict(student=simcc(), sample=person(), metainfo=METAINFO)
    with pytest.raises(ConfigError, match=sentence):
        compare_keypoints(**{**arguments, **change})


def test_teachers_that_cannot_be_compared_are_sentences() -> None:
    sample, student = person(), simcc()
    wide = {**SIMCC, 'input_size': (64, 64)}
    with pytest.raises(ConfigError, match='input_size of the teacher is 64x64.* is 48x64'):
        compare_keypoints(
            student, sample, METAINFO, estimator({**simcc_head('RTMCCHead'), 'decoder': wide, 'input_size': (64, 64)})
        )
    six = estimator({**simcc_head('RTMCCHead'), 'decoder': SIMCC, 'out_channels': 6})
    with pytest.raises(ConfigError, match='student predicts keypoints: 5, and the teacher: 6'):
        compare_keypoints(student, sample, METAINFO, six)
    with pytest.raises(ConfigError, match='a Laplace distribution: False, and the teacher: True'):
        compare_keypoints(student, sample, METAINFO, rle())
    with pytest.raises(
        ConfigError, match=r'densities of shape: \[\(96,\), \(128,\)\], and the teacher: \[\(16, 16\)\]'
    ):
        compare_keypoints(student, sample, METAINFO, estimator(HEATMAP))
