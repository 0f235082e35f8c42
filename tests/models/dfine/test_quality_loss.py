"""Class losses with a quality score, in plain heads and in heads with FDR."""

from __future__ import annotations

from inspect import signature

import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.models.losses import QualityFocalLoss
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from kd_plugins.errors import ConfigError
from kd_plugins.losses import matchability_aware, varifocal
from kd_plugins.models.dfine import MALLoss, VFLLoss
from kd_plugins.registry import MODELS
from tests.losses.scored_queries import data
from tests.models.dfine import small_detectors


def test_defaults_are_those_of_transformers() -> None:
    config = pytest.importorskip('transformers').DFineConfig()
    module = VFLLoss()
    actual = (module.alpha, module.gamma, module.loss_weight)
    assert actual == (config.focal_loss_alpha, config.focal_loss_gamma, config.weight_loss_vfl)


def test_takes_the_place_of_quality_focal_loss() -> None:
    reference, module = QualityFocalLoss(), VFLLoss()
    assert list(signature(reference.forward).parameters) == list(signature(module.forward).parameters)
    assert module.use_sigmoid is True and module.loss_weight == reference.loss_weight
    logits, quality, labels = data(torch.float32)
    weight = torch.rand(6)
    for arguments in ({}, {'weight': weight}, {'avg_factor': 4.0}, {'reduction_override': 'none'}):
        shapes = [loss(logits, (labels, quality), **arguments).shape for loss in (reference, module)]
        assert shapes[0] == shapes[1]


def test_the_value_is_that_of_the_heads_with_fdr() -> None:
    """Its base class adds arguments, and none of them changes a value."""
    logits, quality, labels = data()
    module = VFLLoss(alpha=0.6, gamma=1.5)
    assert isinstance(module, QualityFocalLoss)
    actual = module(logits, (labels, quality), reduction_override='none')
    assert torch.equal(actual, varifocal(logits, quality, labels, alpha=0.6, gamma=1.5))


def test_a_dense_head_gives_it_quality_scores() -> None:
    torch.manual_seed(0)
    config = dict(
        type='mmdet.GFLHead',
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        norm_cfg=dict(type='GN', num_groups=2),
        anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16]
        ),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_cls=dict(type='kd_plugins.VFLLoss', loss_weight=2.0),
        train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(config)
    taken = []
    head.loss_cls.register_forward_hook(
        lambda module, args, kwargs, output: taken.append((args, kwargs, output)), with_kwargs=True
    )
    boxes = torch.tensor([[4.0, 4.0, 52.0, 60.0], [30.0, 10.0, 60.0, 40.0]])
    objects = InstanceData(bboxes=boxes, labels=torch.tensor([2, 0]))
    maps = [torch.randn(1, 8, size, size) for size in (8, 4)]
    losses = head.loss_by_feat(*head(maps), [objects], [dict(img_shape=(64, 64), pad_shape=(64, 64))])
    assert len(taken) == len(losses['loss_cls']) == 2
    matched = 0.0
    for ((logits, (labels, quality)), options, output), value in zip(taken, losses['loss_cls']):
        each = varifocal(logits, quality, labels) * options['weight']
        torch.testing.assert_close(value, 2.0 * each.sum() / options['avg_factor'])
        assert value is output
        matched += quality[labels < 3].sum()
    assert matched > 0


def test_labels_without_quality_scores_are_refused() -> None:
    logits, _, labels = data()
    with pytest.raises(ConfigError, match=r"^loss_cls\.type is 'VFLLoss', .* without quality scores; nearest: 'Focal"):
        VFLLoss()(logits, labels)


def test_reductions() -> None:
    logits, quality, labels = data()
    target, weight = (labels, quality), torch.rand(6)
    module = VFLLoss(loss_weight=2.0)
    each = module(logits, target, reduction_override='none')
    torch.testing.assert_close(each, 2.0 * varifocal(logits, quality, labels))
    torch.testing.assert_close(module(logits, target), each.mean())
    torch.testing.assert_close(module(logits, target, avg_factor=4.0), each.sum() / 4)
    torch.testing.assert_close(module(logits, target, avg_factor=torch.tensor(4.0)), each.sum() / 4)
    torch.testing.assert_close(module(logits, target, weight, avg_factor=4.0), (each * weight).sum() / 4)
    torch.testing.assert_close(module(logits, target, reduction_override='sum'), each.sum())
    torch.testing.assert_close(VFLLoss(reduction='sum')(logits, target), each.sum() / 2)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_no_queries_keep_a_graph(reduction: str) -> None:
    logits = torch.zeros(0, 3, requires_grad=True)
    actual = VFLLoss(reduction=reduction)(logits, (torch.zeros(0, dtype=torch.long), torch.zeros(0)))
    actual.backward()
    assert actual.shape == () and actual == 0 and logits.grad is not None


def test_module() -> None:
    module = MODELS.build({'type': 'kd_plugins.VFLLoss', 'alpha': 0.5, 'gamma': 1.0, 'reduction': 'none'})
    logits, quality, labels = data()
    assert torch.equal(module(logits, (labels, quality)), varifocal(logits, quality, labels, 0.5, 1.0))


def test_invalid_arguments() -> None:
    logits, quality, labels = data()
    with pytest.raises(ConfigError, match='use_sigmoid is False, and VFLLoss has one sigmoid per class'):
        VFLLoss(use_sigmoid=False)
    with pytest.raises(ConfigError, match="reduction is 'means'; nearest: 'mean'"):
        VFLLoss(reduction='means')
    with pytest.raises(ConfigError, match="reduction_override is 'no'; nearest: 'none'"):
        VFLLoss()(logits, (labels, quality), reduction_override='no')
    with pytest.raises(ConfigError, match="reduction is 'sum', which takes no avg_factor"):
        VFLLoss()(logits, (labels, quality), avg_factor=1.0, reduction_override='sum')


def test_mal_has_the_defaults_of_deim_and_trains_heads() -> None:
    logits, quality, labels = data()
    module = MODELS.build({'type': 'kd_plugins.MALLoss', 'reduction': 'none'})
    assert (module.alpha, module.gamma, module.loss_weight) == (1.0, 1.5, 1.0) and isinstance(module, QualityFocalLoss)
    assert torch.equal(module(logits, (labels, quality)), matchability_aware(logits, quality, labels))
    with pytest.raises(ConfigError, match='MALLoss.gamma is -1.0'):
        MALLoss(gamma=-1.0)
    with pytest.raises(ConfigError, match="loss_cls.type is 'MALLoss', .* nearest: 'Focal"):
        MALLoss()(logits, labels)
    loss = dict(type='kd_plugins.MALLoss')
    for fdr in (True, False):
        model = small_detectors.config('dino', fdr=fdr)
        model['bbox_head']['loss_cls'] = loss
        losses = small_detectors.losses(small_detectors.build(model), [3, 0])
        torch.stack([value for name, value in losses.items() if 'loss_cls' in name]).sum().backward()
        assert all(value.isfinite() and value > 0 for name, value in losses.items() if 'loss_cls' in name)
