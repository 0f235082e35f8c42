"""Prediction of one network for a person: the distributions of each kind of head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Laplace

from kd_plugins.errors import ConfigError
from kd_plugins.visualization import read_pose
from tests.distillers.keypoint.estimators import JOINTS, SIZE, simcc_head
from tests.visualization.pose_estimators import (
    HEATMAP,
    MSRA,
    REGRESSION,
    RLE,
    SIMCC,
    UDP,
    estimator,
    outputs,
    person,
    rle,
    simcc,
)

pytestmark = pytest.mark.usefixtures('pose_scope')


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
    for actual, wanted in zip(pose.densities, read_pose(model, sample).densities):
        np.testing.assert_array_equal(actual, wanted)


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
