from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

pytest.importorskip('mmdet')

from mmdet.models.losses import FocalLoss, QualityFocalLoss

from kd_plugins.errors import NonFiniteLossError
from kd_plugins.losses import DDFLoss, decoupled_distillation
from kd_plugins.models.dfine import Denoising, Predictions, Proposals
from kd_plugins.models.dfine.matching.hungarian import assign, matching_costs
from kd_plugins.models.dfine.matching.union import union
from tests.models.dfine.common import CLASSES, COSTS, SHAPE, criterion, evaluate, gradients, predictions, truths
from tests.ranks import on_two_ranks


def reference_losses(outputs: Predictions, objects: list[Any], layer: int) -> dict[str, torch.Tensor]:
    """Return what transformers' D-FINE criterion says of one layer, on that layer's own matches."""
    transformers = pytest.importorskip('transformers')
    from transformers.loss.loss_d_fine import DFineLoss

    loss = DFineLoss(transformers.DFineConfig(num_labels=CLASSES))
    scale = torch.tensor([SHAPE[1], SHAPE[0]] * 2)
    targets = []
    for item in objects:
        corners = item.bboxes / scale
        sizes = corners[:, 2:] - corners[:, :2]
        targets.append(
            {'class_labels': item.labels, 'boxes': torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, sizes], 1)}
        )
    layers = len(outputs.boxes)
    one = {
        'logits': outputs.scores[layer],
        'pred_boxes': outputs.boxes[layer],
        'pred_corners': outputs.logits[layer].flatten(2),
        'ref_points': outputs.initial_boxes,
        'teacher_corners': outputs.logits[layers - 1].flatten(2),
        'teacher_logits': outputs.scores[layers - 1],
    }
    indices = loss.matcher(one, targets)
    number = max(sum(len(item) for item in objects), 1)
    return {
        key: value * loss.weight_dict[key]
        for name in loss.losses
        for key, value in loss.get_loss(name, one, targets, indices, number).items()
    }


@pytest.mark.parametrize('numbers', [[3, 2], [0, 4], [1, 7]], ids=str)
def test_each_layer_equals_transformers_on_its_own_matches(numbers: list[int]) -> None:
    outputs, objects = predictions(), truths(numbers)
    made = criterion(matching='own')
    losses = evaluate(made, outputs, objects)
    names = {'loss_vfl': 'loss_cls', 'loss_bbox': 'loss_bbox', 'loss_giou': 'loss_iou', 'loss_fgl': 'loss_fgl'}
    for layer, prefix in enumerate(('d0.', 'd1.', '')):
        expected = reference_losses(outputs, objects, layer)
        for key, name in {**names, **({'loss_ddf': 'loss_ddf'} if prefix else {})}.items():
            torch.testing.assert_close(losses[prefix + name], expected[key], rtol=1e-5, atol=1e-6)
            actual = gradients({name: losses[prefix + name] + sum(x.sum() * 0 for x in outputs)}, outputs)
            wanted = gradients({name: expected[key] + sum(x.sum() * 0 for x in outputs)}, outputs)
            for a, b in zip(actual, wanted):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    # The last layer teaches and is not taught.
    assert 'loss_ddf' not in losses


def test_union_and_own_matching_agree_where_all_sets_agree() -> None:
    outputs, objects = predictions(layers=2), truths([3, 2])
    same = [x[-1:].expand_as(x) for x in outputs[:3]]
    together = Predictions(*same, outputs.scores[-1], outputs.boxes[-1])
    own = evaluate(criterion(matching='own'), together, objects)
    shared = evaluate(criterion(), together, objects)
    assert own.keys() == shared.keys()
    for key in own:
        torch.testing.assert_close(own[key], shared[key])
    assert own['d0.loss_ddf'] == 0


def test_union_by_hand() -> None:
    """Boxes and distributions of every set learn from the same pairs, divided by their number; classes do not."""
    outputs, objects = predictions(seed=4), truths([3, 2], seed=5)
    made = criterion()
    losses = evaluate(made, outputs, objects)
    sets = (
        torch.cat([outputs.scores, outputs.initial_scores[None]]),
        torch.cat([outputs.boxes, outputs.initial_boxes[None]]),
    )
    pairs = assign(matching_costs(*sets, objects, [SHAPE] * 2, made.match_costs))
    chosen = union(pairs, last=2)
    assert len(chosen.queries) > 5, 'a union that equals one set would show nothing'
    scale = torch.tensor([SHAPE[1], SHAPE[0]] * 2)
    total = torch.zeros(())
    for image, query, number in zip(chosen.images, chosen.queries, chosen.objects):
        corners = objects[image].bboxes[number] / scale
        wanted = torch.cat([(corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]])
        total = total + (outputs.boxes[1, image, query] - wanted).abs().sum()
    torch.testing.assert_close(losses['d1.loss_bbox'], 5.0 * total / len(chosen.queries))
    own = evaluate(criterion(matching='own'), outputs, objects)
    torch.testing.assert_close(own['d1.loss_cls'], losses['d1.loss_cls'])


def test_distillation_counts_matched_and_other_queries_apart() -> None:
    outputs, objects = predictions(seed=4), truths([3, 2], seed=5)
    made = criterion()
    actual = evaluate(made, outputs, objects)['d0.loss_ddf']
    sets = (
        torch.cat([outputs.scores, outputs.initial_scores[None]]),
        torch.cat([outputs.boxes, outputs.initial_boxes[None]]),
    )
    chosen = union(assign(matching_costs(*sets, objects, [SHAPE] * 2, made.match_costs)), last=2)
    weight = outputs.scores[-1].sigmoid().amax(-1)
    matched = torch.zeros(2, 7, dtype=torch.bool)
    scale = torch.tensor([SHAPE[1], SHAPE[0]] * 2)
    for image, query, number in zip(chosen.images, chosen.queries, chosen.objects):
        x, y, w, h = outputs.boxes[0, image, query].tolist()
        left, top, right, bottom = (objects[image].bboxes[number] / scale).tolist()
        width = max(min(x + w / 2, right) - max(x - w / 2, left), 0)
        height = max(min(y + h / 2, bottom) - max(y - h / 2, top), 0)
        both = max(w, 0) * max(h, 0) + (right - left) * (bottom - top) - width * height
        weight[image, query] = width * height / both
        matched[image, query] = True
    expected = decoupled_distillation(
        outputs.logits[:1].flatten(1, 2), outputs.logits[-1].flatten(0, 1), weight.flatten()[None], matched.flatten()
    )
    torch.testing.assert_close(actual, 1.5 * expected[0])


def noise(images: int, number: int, groups: int = 2, seed: int = 9) -> Denoising:
    return Denoising(predictions(images=images, queries=2 * groups * number, seed=seed), groups)


def test_denoising_layers_learn_and_the_last_teaches() -> None:
    objects = truths([3, 2])
    outputs, denoising = predictions(), noise(2, 3)
    losses = evaluate(criterion(), outputs, objects, denoising=denoising)
    without = evaluate(criterion(), outputs, objects)
    assert {key for key in losses if 'dn_' in key} == {key.replace('loss_', 'dn_loss_') for key in without}
    assert losses['d0.dn_loss_ddf'] > 0
    (gradient,) = torch.autograd.grad(losses['d0.dn_loss_ddf'], denoising.predictions.logits)
    assert gradient[0].abs().sum() > 0 and gradient[1:].abs().sum() == 0


def test_released_balance_of_the_denoising_distillation() -> None:
    """The release takes the square roots of the matching queries' numbers for the denoising queries, too."""
    objects, outputs, denoising = truths([3, 2]), predictions(), noise(2, 3)
    own = evaluate(criterion(loss_ddf=DDFLoss(denoising_counts='own')), outputs, objects, denoising=denoising)
    released = evaluate(criterion(), outputs, objects, denoising=denoising)
    different = {key for key in own if not torch.equal(own[key], released[key])}
    assert different == {'d0.dn_loss_ddf', 'd1.dn_loss_ddf'}


def test_proposals_that_became_queries_join_the_union() -> None:
    outputs, objects = predictions(), truths([3, 2])
    proposals = Proposals(outputs.initial_scores * 0.9, outputs.initial_boxes * 0.99, selected=True)
    losses = evaluate(criterion(), outputs, objects, proposals=proposals)
    assert {'enc_loss_cls', 'enc_loss_bbox', 'enc_loss_iou'} <= set(losses)
    worst = proposals._replace(boxes=torch.zeros_like(proposals.boxes), scores=-proposals.scores)
    moved = evaluate(criterion(), outputs, objects, proposals=worst)
    assert not torch.equal(losses['loss_bbox'], moved['loss_bbox']), 'another match of the proposals has to count'


def all_proposals(number: int, seed: int = 11) -> Proposals:
    """Return more proposals than queries, as two-stage Deformable DETR has."""
    made = predictions(layers=1, queries=number, seed=seed)
    return Proposals(made.initial_scores, made.initial_boxes, selected=False)


@pytest.mark.parametrize('numbers', [[3, 2], [0, 4], [0, 0], [9, 1]], ids=str)
def test_all_proposals_learn_as_in_mmdetection(numbers: list[int]) -> None:
    """Values and gradients of ``DeformableDETRHead`` on every proposal, with any object as class 0."""
    from mmdet.models.dense_heads import DeformableDETRHead

    outputs, objects, proposals = predictions(), truths(numbers), all_proposals(23)
    head = DeformableDETRHead(
        CLASSES,
        embed_dims=8,
        share_pred_layer=False,
        num_pred_layer=2,
        as_two_stage=True,
        loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True, loss_weight=2.0),
        loss_bbox=dict(type='mmdet.L1Loss', loss_weight=5.0),
        loss_iou=dict(type='mmdet.GIoULoss', loss_weight=2.0),
        train_cfg=dict(
            assigner=dict(
                type='mmdet.HungarianAssigner', match_costs=[{**c, 'type': f'mmdet.{c["type"]}'} for c in COSTS]
            )
        ),
    )
    any_object = [item.clone() for item in objects]
    for item in any_object:
        item.labels = torch.zeros_like(item.labels)
    metas = [dict(img_shape=SHAPE)] * 2
    expected = head.loss_by_feat_single(proposals.scores, proposals.boxes, any_object, metas)
    losses = evaluate(criterion(loss_proposal_cls=head.loss_cls), outputs, objects, proposals=proposals)
    for name, value in zip(('enc_loss_cls', 'enc_loss_bbox', 'enc_loss_iou'), expected):
        torch.testing.assert_close(losses[name], value.reshape(()), msg=lambda text, name=name: f'{name}: {text}')
        for part in (proposals.scores, proposals.boxes):
            actual, wanted = (
                torch.autograd.grad(loss.sum() + 0 * part.sum(), part, retain_graph=True)[0]
                for loss in (losses[name], value)
            )
            torch.testing.assert_close(actual, wanted)


def test_all_proposals_change_nothing_else() -> None:
    outputs, objects = predictions(), truths([3, 2])
    without = evaluate(criterion(), outputs, objects, denoising=noise(2, 3))
    losses = evaluate(criterion(), outputs, objects, proposals=all_proposals(23), denoising=noise(2, 3))
    assert losses.keys() - without.keys() == {'enc_loss_cls', 'enc_loss_bbox', 'enc_loss_iou'}
    for key, value in without.items():
        assert torch.equal(losses[key], value), key


def test_proposals_may_have_a_class_loss_of_their_own() -> None:
    outputs, objects = predictions(), truths([3, 2])
    proposals = Proposals(outputs.initial_scores * 0.9, outputs.initial_boxes * 0.99, selected=True)
    usual, focal, mixed = (
        evaluate(criterion(**options), outputs, objects, proposals=proposals, denoising=noise(2, 3))
        for options in ({}, {'loss_cls': FocalLoss()}, {'loss_proposal_cls': FocalLoss()})
    )
    assert mixed.keys() == usual.keys()
    for key, value in mixed.items():
        assert torch.equal(value, (focal if key == 'enc_loss_cls' else usual)[key]), key
    assert not torch.equal(mixed['enc_loss_cls'], usual['enc_loss_cls'])


def test_crossed_edges_count_as_a_line_in_giou() -> None:
    """A query whose left and right edge crossed has the GIoU of the line at its centre, and L1 opens it again."""
    outputs, objects = predictions(layers=2, queries=1, images=1), truths([1])
    boxes = outputs.boxes.detach().clone()
    boxes[..., 2:] = torch.tensor([-0.1, -0.2])
    crossed = Predictions(outputs.scores, boxes.requires_grad_(), *outputs[2:])
    flat = Predictions(outputs.scores, boxes.detach().clamp(min=0).requires_grad_(), *outputs[2:])
    losses, expected = (evaluate(criterion(), item, objects) for item in (crossed, flat))
    torch.testing.assert_close(losses['loss_iou'], expected['loss_iou'])
    assert losses['loss_iou'] >= 2.0
    (gradient,) = torch.autograd.grad(losses['loss_iou'] + losses['loss_bbox'], boxes)
    assert (gradient[-1, ..., 2:] < 0).all()


CASES: dict[str, list[int]] = {
    'no object at all': [0, 0],
    'one image without objects': [0, 3],
    'one object': [1, 0],
    'every query matched': [7, 7],
    'more objects than queries': [9, 2],
}


@pytest.mark.parametrize('matching', ['union', 'own'])
@pytest.mark.parametrize('selected', [True, False], ids=['chosen proposals', 'all proposals'])
@pytest.mark.parametrize('numbers', CASES.values(), ids=CASES.keys())
def test_any_number_of_objects(numbers: list[int], selected: bool, matching: str) -> None:
    outputs, denoising = predictions(), noise(2, max(numbers))
    proposals = Proposals(outputs.initial_scores, outputs.initial_boxes, selected)
    losses = evaluate(criterion(matching=matching), outputs, truths(numbers), proposals=proposals, denoising=denoising)
    usual = evaluate(criterion(), outputs, truths([2, 2]), proposals=proposals, denoising=noise(2, 2))
    assert losses.keys() == usual.keys()
    for key, value in losses.items():
        assert value.shape == () and value.isfinite(), key
    for gradient in gradients(losses, outputs) + gradients(losses, denoising.predictions):
        assert gradient.isfinite().all()


def test_odd_boxes() -> None:
    """Duplicates, a box outside the image, one without area, references and predictions without extent."""
    objects = truths([4, 1])
    objects[0].bboxes[1] = objects[0].bboxes[0]
    objects[0].labels[1] = objects[0].labels[0]
    objects[0].bboxes[2] = torch.tensor([-50.0, -40.0, 400.0, 300.0])
    objects[0].bboxes[3] = torch.tensor([30.0, 30.0, 30.0, 30.0])
    outputs = predictions()
    with torch.no_grad():
        outputs.initial_boxes[0, 0, 2:] = 0
        outputs.boxes[:, 0, 1, 2:] = -0.1
    losses = evaluate(criterion(), outputs, objects, denoising=noise(2, 4))
    assert all(value.isfinite() for value in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients(losses, outputs))


@pytest.mark.parametrize('loss_cls', [FocalLoss(), QualityFocalLoss()], ids=lambda x: type(x).__name__)
def test_class_losses_of_mmdetection(loss_cls: torch.nn.Module) -> None:
    """The head's own class loss keeps working, as MMDetection's DETR heads apply it."""
    outputs, objects = predictions(), truths([3, 0])
    actual = evaluate(criterion(loss_cls=loss_cls, matching='own'), outputs, objects)['loss_cls']
    pairs = assign(
        matching_costs(outputs.scores[-1:], outputs.boxes[-1:], objects, [SHAPE] * 2, criterion().match_costs)
    )
    labels = torch.full((2, 7), CLASSES)
    labels[pairs.images, pairs.queries] = objects[0].labels[pairs.objects]
    target: Any = labels.flatten()
    if isinstance(loss_cls, QualityFocalLoss):
        from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps

        quality = torch.zeros(2, 7)
        matched = bbox_cxcywh_to_xyxy(outputs.boxes[-1].detach())[pairs.images, pairs.queries]
        corners = objects[0].bboxes[pairs.objects] / torch.tensor([SHAPE[1], SHAPE[0]] * 2)
        quality[pairs.images, pairs.queries] = bbox_overlaps(matched, corners, is_aligned=True)
        target = target, quality.flatten()
    expected = loss_cls(outputs.scores[-1].flatten(0, 1), target, avg_factor=3.0)
    torch.testing.assert_close(actual, expected)


def test_diverged_predictions_stop_with_one_sentence() -> None:
    outputs = predictions()
    with torch.no_grad():
        outputs.scores[1, 1, 0, 0] = float('nan')
    with pytest.raises(NonFiniteLossError, match='image 1 in prediction set 1'):
        evaluate(criterion(), outputs, truths([2, 2]))


def test_half_precision_outputs_are_lifted() -> None:
    outputs, objects = predictions(), truths([3, 2])
    rounded = Predictions(*(part.detach().bfloat16() for part in outputs))
    losses = evaluate(criterion(), rounded, objects)
    expected = evaluate(criterion(), Predictions(*(part.float() for part in rounded)), objects)
    for key, value in losses.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[key])


def _step(images: slice, selected: bool = True) -> dict[str, Any]:
    """Return losses and gradients of some of four images."""
    outputs, objects = predictions(images=4, queries=9), truths([3, 0, 5, 2])
    queries = noise(4, 5)
    share = Predictions(*(x[:, images] for x in outputs[:3]), *(x[images] for x in outputs[3:]))
    denoising_share = Predictions(
        *(x[:, images] for x in queries.predictions[:3]), *(x[images] for x in queries.predictions[3:])
    )
    proposals = Proposals(share.initial_scores * 0.5, share.initial_boxes, selected)
    losses = evaluate(
        criterion(),
        share,
        objects[images],
        proposals=proposals,
        denoising=Denoising(denoising_share, queries.num_groups),
    )
    total = torch.stack(list(losses.values())).sum()
    return {'gradients': torch.autograd.grad(total, [*outputs, *queries.predictions]), 'keys': list(losses)}


def _half_step() -> list[dict[str, Any]]:
    start = 2 * dist.get_rank()
    return [_step(slice(start, start + 2), selected) for selected in (True, False)]


@pytest.mark.distributed
def test_two_ranks_train_like_one_process(tmp_path: Path) -> None:
    first_rank, second_rank = on_two_ranks(tmp_path, _half_step)
    whole = [_step(slice(None), selected) for selected in (True, False)]
    for first, second, expected in zip(first_rank, second_rank, whole):
        assert first['keys'] == second['keys'] == expected['keys']
        for one, other, wanted in zip(first['gradients'], second['gradients'], expected['gradients']):
            torch.testing.assert_close((one + other) / 2, wanted, rtol=1e-5, atol=1e-7)
