"""What is said of a person: the same as the networks say, whatever their head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Laplace, kl_divergence

from kd_plugins.errors import ConfigError
from kd_plugins.visualization import (
    Pose,
    compare_keypoints,
    keypoint_divergence,
    read_pose,
)
from tests.distillers.keypoint.estimators import JOINTS, SIZE, simcc_head
from tests.visualization.people import METAINFO

pytest.importorskip('mmpose')
pytest.importorskip('matplotlib')
WIDTH, HEIGHT = SIZE
SIMCC = dict(type='SimCCLabel', input_size=SIZE, sigma=(4.9, 5.66), simcc_split_ratio=2.0, normalize=False)
MSRA = dict(type='MSRAHeatmap', input_size=SIZE, heatmap_size=(16, 16), sigma=1.0)
UDP = dict(MSRA, type='UDPHeatmap')
REGRESSION = dict(type='RegressionLabel', input_size=SIZE)
HEATMAP = dict(
    type='HeatmapHead', out_channels=JOINTS, deconv_out_channels=(8, 8, 8), deconv_kernel_sizes=(4, 4, 4), decoder=MSRA
)
RLE = dict(type='RLEHead', num_joints=JOINTS, decoder=REGRESSION)


@pytest.fixture(autouse=True)
def scope() -> Iterator[None]:
    from mmengine.registry import DefaultScope
    from mmpose.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


def estimator(head: dict[str, Any], seed: int = 0, neck: str | None = None, **test_cfg: Any) -> Any:
    """A small random estimator whose last layers are loud enough to have opinions."""
    from mmpose.models import build_pose_estimator

    config: dict[str, Any] = dict(
        type='TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True),
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
        head=head if 'pose_cfg' in head else {'in_channels': 32, **head},
        test_cfg=test_cfg,
    )
    if neck:
        config['neck'] = dict(type=neck)
    torch.manual_seed(seed)
    model = build_pose_estimator(config).eval()
    for layer in (module for module in model.head.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))):
        nn.init.normal_(layer.weight, std=0.3)
    return model


def rle(seed: int = 0) -> Any:
    return estimator(RLE, seed, neck='GlobalAveragePooling')


def simcc(kind: str = 'RTMCCHead', seed: int = 0, **loss: Any) -> Any:
    return estimator({**simcc_head(kind, **loss), 'decoder': SIMCC}, seed)


def person(keypoints: bool = True, **more: Any) -> dict[str, Any]:
    """A person in an image, as a test pipeline packs it; the fourth joint is not annotated."""
    from mmengine.dataset import Compose

    rng = np.random.default_rng(3)
    pipeline = Compose(
        [
            dict(type='GetBBoxCenterScale'),
            dict(type='TopdownAffine', input_size=SIZE),
            dict(type='PackPoseInputs', pack_transformed=keypoints),
        ]
    )
    found = dict(
        img=rng.integers(0, 255, (90, 120, 3)).astype(np.uint8),
        bbox=np.array([[20, 10, 80, 85]], np.float32),
        bbox_score=np.ones(1, np.float32),
        flip_indices=[0, 2, 1, 4, 3],
        **more,
    )
    if keypoints:
        found['keypoints'] = rng.uniform(15, 80, (1, JOINTS, 2)).astype(np.float32)
        found['keypoints_visible'] = np.array([[1, 1, 1, 0, 1]], np.float32)
    return pipeline(found)


def outputs(model: Any, sample: dict[str, Any]) -> list[torch.Tensor]:
    """What the head gives, by the calls of a forward pass."""
    rgb = sample['inputs'].flip(0).float()[None]
    with torch.no_grad():
        found = model.head.forward(model.extract_feat((rgb - 120.0) / 60.0))
    return [tensor[0] for tensor in (found if isinstance(found, tuple) else [found])]


@pytest.mark.parametrize('kind', ['RTMCCHead', 'SimCCHead'])
def test_simcc_densities_are_the_softmax_with_the_factor_of_the_loss(kind: str) -> None:
    model, sample = simcc(kind, beta=7.0), person()
    pose = read_pose(model, sample)
    for axis, (logits, side) in enumerate(zip(outputs(model, sample), SIZE)):
        wanted = (7.0 * logits).softmax(dim=-1).numpy()
        np.testing.assert_allclose(pose.densities[axis] / 2.0, wanted, rtol=1e-4)
        np.testing.assert_allclose(pose.positions[axis], np.arange(2 * side) / 2.0)
        # One maximum decides both.
        np.testing.assert_allclose(pose.positions[axis][pose.densities[axis].argmax(axis=-1)], pose.points[:, axis])
    assert pose.spread is None and np.ptp(pose.points, axis=0).min() > 0


@pytest.mark.parametrize('codec', [MSRA, UDP])
def test_heatmaps_are_the_softmax_over_all_cells(codec: dict[str, Any]) -> None:
    model, sample = estimator({**HEATMAP, 'decoder': codec}), person()
    with torch.no_grad():
        model.head.final_layer.weight.mul_(20.0)
    pose = read_pose(model, sample)
    (maps,) = outputs(model, sample)
    (density,) = pose.densities
    wanted = (10.0 * maps.double()).flatten(1).softmax(dim=-1).reshape(maps.shape)
    np.testing.assert_allclose(density, wanted, rtol=1e-3, atol=1e-12)
    x, y = pose.positions
    assert (x[-1], y[-1]) == pytest.approx((47.0, 63.0) if codec is UDP else (45.0, 60.0))
    rows, columns = np.unravel_index(density.reshape(JOINTS, -1).argmax(axis=-1), density.shape[1:])
    # Codecs refine the maximum by less than a cell, 3x4 pixels (UDP by a Taylor expansion that may run away on noise).
    offset = np.abs(pose.points - np.stack([x[columns], y[rows]], axis=-1))
    assert np.median(offset) < 4.5 and (codec is UDP or offset.max() <= 1.01)


def test_regressed_joints_are_laplace_curves_in_pixels() -> None:
    model, sample = rle(), person()
    with torch.no_grad():
        model.head.fc.bias.copy_(torch.tensor([0.3, 0.6, -3.0, -2.0]).repeat(JOINTS))
    pose = read_pose(model, sample)
    values = outputs(model, sample)[0]
    assert pose.spread is not None
    for axis, side in enumerate(SIZE):
        wanted = Laplace(values[:, axis, None].double() * side, values[:, 2 + axis, None].double().sigmoid() * side)
        places = torch.from_numpy(pose.positions[axis])
        np.testing.assert_allclose(pose.densities[axis], wanted.log_prob(places).exp(), rtol=1e-4)
        np.testing.assert_allclose(pose.points[:, axis], wanted.mean[:, 0], rtol=1e-4)
        np.testing.assert_allclose(pose.spread[:, axis], wanted.scale[:, 0], rtol=1e-4)
        assert places[0] == 0 and places[-1] == side


def test_a_head_that_predicts_visibility_as_well_is_read_through() -> None:
    head = dict(simcc_head('RTMCCHead'), decoder=SIMCC, in_channels=32)
    model, sample = estimator(dict(type='VisPredictHead', pose_cfg=head)), person()
    pose = read_pose(model, sample)
    model.head = model.head.pose_head
    for found, wanted in zip(pose.densities, read_pose(model, sample).densities):
        np.testing.assert_array_equal(found, wanted)


def test_some_outputs_can_be_selected_and_the_second_pass_is_left_out() -> None:
    sample = person()
    plain = read_pose(simcc(), sample)
    chosen = estimator({**simcc_head('RTMCCHead'), 'decoder': SIMCC}, flip_test=True, output_keypoint_indices=[4, 0])
    few = read_pose(chosen, sample)
    np.testing.assert_allclose(few.points, plain.points[[4, 0]])
    np.testing.assert_allclose(few.densities[1], plain.densities[1][[4, 0]])
    np.testing.assert_allclose(few.scores, plain.scores[[4, 0]])


def test_reading_changes_neither_model_nor_sample() -> None:
    model, sample = rle(), person()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    keys, inputs = set(sample['data_samples'].all_keys()), sample['inputs'].clone()
    metainfo = set(sample['data_samples'].metainfo_keys())
    read_pose(model, sample)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert set(sample['data_samples'].all_keys()) == keys and torch.equal(sample['inputs'], inputs)
    assert set(sample['data_samples'].metainfo_keys()) == metainfo


def test_the_divergence_is_that_of_the_distributions() -> None:
    sample = person()
    teacher, student = simcc(seed=1, beta=3.0), simcc(beta=3.0)
    pairs = zip(outputs(teacher, sample), outputs(student, sample))
    wanted = [kl_divergence(Categorical(logits=3.0 * t), Categorical(logits=3.0 * s)) for t, s in pairs]
    found = keypoint_divergence(read_pose(teacher, sample), read_pose(student, sample))
    np.testing.assert_allclose(found, sum(wanted), rtol=1e-4)
    assert found.min() > 0.1

    teacher, student = rle(1), rle()
    (t,), (s,) = outputs(teacher, sample), outputs(student, sample)
    one, two = (Laplace(value[:, :2], value[:, 2:].sigmoid()) for value in (t, s))
    found = keypoint_divergence(read_pose(teacher, sample), read_pose(student, sample))
    np.testing.assert_allclose(found, kl_divergence(one, two).sum(dim=-1), rtol=1e-3)


def test_the_divergence_of_heatmaps_is_finite_and_zero_for_the_same() -> None:
    maps = np.zeros((2, JOINTS, 16, 12))
    maps[0, :, 3, 4], maps[1, :, 9, 7] = 1.0, 1.0
    teacher, student = (
        Pose(np.zeros((JOINTS, 2)), np.ones(JOINTS), (np.arange(12.0), np.arange(16.0)), (found,)) for found in maps
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
        (dict(teacher=nn.Linear(1, 1)), "model.type: 'Linear' of the teacher is no top-down pose estimator"),
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


@pytest.mark.parametrize(
    ('head', 'sentence'),
    [
        ({**RLE, 'type': 'RegressionHead'}, 'RegressionHead with SmoothL1Loss of the student predicts no Laplace'),
        (
            {**RLE, 'loss': dict(type='RLELoss', q_distribution='gaussian')},
            'RLELoss of the student predicts no',
        ),
        ({**HEATMAP, 'decoder': None}, 'model.head.decoder of the student is None'),
        ({**HEATMAP, 'loss': dict(type='CombinedTargetMSELoss', use_target_weight=True)}, 'gives offset maps'),
        (
            dict(type='DSNTHead', in_featuremap_size=(2, 2), num_joints=JOINTS, decoder=REGRESSION),
            "model.head: 'DSNTHead' of the student gives no distributions of keypoints; RTMCCHead",
        ),
    ],
)
def test_heads_without_distributions_are_sentences(head: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_pose(estimator(head), person())
