"""RT-DETR's head: losses against transformers' on the same tensors, and wrong configuration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip('mmdet')

from mmengine.registry import DefaultScope

from kd_plugins.errors import ConfigError
from kd_plugins.models.dfine import Criterion, Denoising, Predictions, Proposals
from kd_plugins.models.dfine.targets import denoising_pairs
from kd_plugins.models.rtdetr import RTDETRHead
from tests.models.dfine.common import CLASSES, COSTS, SHAPE, boxes, truths

LAYERS, QUERIES, DIMS = 3, 7, 8
LOSSES: dict[str, Any] = dict(
    loss_cls=dict(type='kd_plugins.VFLLoss'),
    loss_bbox=dict(type='L1Loss', loss_weight=5.0),
    loss_iou=dict(type='GIoULoss', loss_weight=2.0),
)


def head(**options: Any) -> RTDETRHead:
    torch.manual_seed(0)
    settings: dict[str, Any] = dict(num_classes=CLASSES, embed_dims=DIMS, num_pred_layer=LAYERS + 1, as_two_stage=True)
    settings |= LOSSES | dict(train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=COSTS)))
    with DefaultScope.overwrite_default_scope('mmdet'):
        return RTDETRHead(**settings | options)


def outputs(layers: int, queries: int, seed: int) -> Predictions:
    """Return random class logits and boxes."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(layers, 2, queries, CLASSES, generator=generator)
    located = boxes(layers, 2, queries, generator=generator).float()
    return Predictions(scores.requires_grad_(), located.requires_grad_())


def theirs(
    predictions: Predictions, proposals: Predictions, noised: Predictions, numbers: list[int]
) -> dict[str, Tensor]:
    """Return the terms of transformers' criterion under the names here."""
    transformers = pytest.importorskip('transformers')
    from transformers.loss.loss_rt_detr import RTDetrLoss

    config = transformers.RTDetrConfig()
    config.num_labels = CLASSES
    labels = []
    for truth in truths(numbers):
        corners = truth.bboxes / torch.tensor([SHAPE[1], SHAPE[0]] * 2)
        center, side = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        labels.append(dict(class_labels=truth.labels, boxes=torch.cat([center, side], dim=1)))
    sets = [dict(logits=scores, pred_boxes=located) for scores, located in zip(*predictions[:2])]
    first = dict(logits=proposals.scores[0], pred_boxes=proposals.boxes[0])
    content: dict[str, Any] = dict(**sets[-1], auxiliary_outputs=[*sets[:-1], first])
    if max(numbers):
        queries = noised.boxes.shape[2]
        import numpy as np

        pairs = denoising_pairs(np.array(numbers), queries, 2)[0][0]
        positive = [torch.from_numpy(pairs[pairs // queries == image] % queries) for image in range(len(numbers))]
        content['dn_auxiliary_outputs'] = [dict(logits=s, pred_boxes=b) for s, b in zip(*noised[:2])]
        content['denoising_meta_values'] = dict(dn_positive_idx=positive, dn_num_group=2)
    names = {'loss_vfl': 'loss_cls', 'loss_bbox': 'loss_bbox', 'loss_giou': 'loss_iou'}
    prefixes = {'': '', f'_aux_{LAYERS - 1}': 'enc_', f'_dn_{LAYERS - 1}': 'dn_'}
    for layer in range(LAYERS - 1):
        prefixes |= {f'_aux_{layer}': f'd{layer}.', f'_dn_{layer}': f'd{layer}.dn_'}
    terms = RTDetrLoss(config)(content, labels)
    return {
        prefixes[key.removeprefix(term)] + name: value
        for key, value in terms.items()
        for term, name in names.items()
        if key.startswith(term)
    }


@pytest.mark.parametrize('numbers', [[2, 3], [0, 4]], ids=str)
def test_every_term_and_its_gradient_are_those_of_transformers(numbers: list[int]) -> None:
    """Matches of each layer for itself, VFL with the IoU of the boxes, L1 and GIoU; denoising queries, proposals."""
    predictions, proposals = outputs(LAYERS, QUERIES, 0), outputs(1, QUERIES, 5)
    noised = outputs(LAYERS, 2 * 2 * max(numbers), 7)
    criterion: Criterion = head().criterion()
    actual = criterion(
        predictions,
        truths(numbers),
        [SHAPE] * 2,
        Proposals(proposals.scores[0], proposals.boxes[0], selected=True),
        Denoising(noised, 2),
    )
    expected = theirs(predictions, proposals, noised, numbers)
    assert actual.keys() == expected.keys() and len(actual) == 3 * (2 * LAYERS + 1)
    for name, value in expected.items():
        assert actual[name].shape == ()
        torch.testing.assert_close(
            actual[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}'
        )
    leaves = [part for group in (predictions, proposals, noised) for part in group[:2]]
    gradients = [torch.autograd.grad(sum(terms.values()), leaves) for terms in (actual, expected)]
    for ours, other in zip(*gradients):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


def test_no_object_at_all() -> None:
    predictions, proposals = outputs(LAYERS, QUERIES, 0), outputs(1, QUERIES, 5)
    parts = Proposals(proposals.scores[0], proposals.boxes[0], selected=True), Denoising(outputs(LAYERS, 0, 7), 1)
    losses = head().criterion()(predictions, truths([0, 0]), [SHAPE] * 2, *parts)
    assert len(losses) == 3 * (2 * LAYERS + 1)
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    expected = theirs(predictions, proposals, predictions, [0, 0])
    torch.testing.assert_close({name: losses[name] for name in expected}, expected)


def test_union_of_the_matches_lets_all_layers_learn_from_the_same_pairs() -> None:
    predictions, proposals = outputs(LAYERS, QUERIES, 0), outputs(1, QUERIES, 5)
    first = Proposals(proposals.scores[0], proposals.boxes[0], selected=True)
    numbers = [2, 3]
    for matching, counts in (('own', {5}), ('union', {5, 6, 7, 8, 9, 10, 11, 12, 13})):
        losses = head(matching=matching).criterion()(predictions, truths(numbers), [SHAPE] * 2, first)
        learning = [
            torch.autograd.grad(losses[f'd{i}.loss_bbox'], predictions.boxes, retain_graph=True)[0][i] for i in (0, 1)
        ]
        sets = [gradient.abs().sum(dim=-1) > 0 for gradient in learning]
        assert {int(queries.sum()) for queries in sets} <= counts
        assert torch.equal(*sets) is (matching == 'union')


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(matching='unoin'), r"model\.bbox_head\.matching is 'unoin'.*nearest: 'union'"),
        (dict(keep_every_objet=True), r"model\.bbox_head.*'keep_every_objet'.*nearest: 'keep_every_object'"),
        (dict(loss_cls=dict(type='CrossEntropyLoss')), r'model\.bbox_head\.loss_cls: CrossEntropyLoss uses no sigmoid'),
    ],
    ids=['matching', 'argument', 'loss'],
)
def test_wrong_arguments(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        head(**options)


def test_training_needs_an_assigner() -> None:
    with pytest.raises(ConfigError, match=r'model\.train_cfg\.assigner: training needs an assigner with match_costs'):
        head(train_cfg=None).criterion()


def test_activation_of_the_box_branches() -> None:
    kinds = {type(part).__name__ for part in head(act_cfg=dict(type='SiLU')).reg_branches.modules()}
    assert 'SiLU' in kinds and 'ReLU' not in kinds


def test_what_only_trains_can_be_dropped() -> None:
    made, hidden, located = head().eval(), torch.randn(2, 1, QUERIES, DIMS), torch.rand(2, 1, QUERIES, 4)
    expected = made(hidden, located)
    before = made.state_dict()
    made.keep_layer(1)
    for actual, other in zip(made(hidden, located), expected):
        torch.testing.assert_close(actual, other[1:])
    torch.testing.assert_close(made.last_layer(hidden, located), (expected[0][1], expected[1][1]))
    dropped = {
        name.rsplit('.', 2)[0] if 'reg' in name else name.rsplit('.', 1)[0]
        for name in before.keys() - made.state_dict().keys()
    }
    assert dropped == {'cls_branches.0', 'cls_branches.2', 'reg_branches.2'}
