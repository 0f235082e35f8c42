"""Regions of classes as objects of segmentors, and the losses of their decode head on instructive maps."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from kd_plugins.config.loading import register_scope
from kd_plugins.distillers import LabelGuidedDistiller
from kd_plugins.distillers.base import Batch
from kd_plugins.distillers.label_guided import SegmentationTask, TaskSettings
from kd_plugins.distillers.label_guided.segmentation import class_regions, class_shares
from kd_plugins.hooks.session import DistillSession
from tests.distillers.common import sentence
from tests.distillers.pixels import labelled


class Segmentor(nn.Module):
    def __init__(self, in_index: Any = 0, classes: int = 4) -> None:
        super().__init__()
        self.decode_head = nn.Module()
        self.decode_head.num_classes, self.decode_head.in_index = classes, in_index


def task(context: bool = True, **options: Any) -> SegmentationTask:
    return SegmentationTask(Segmentor(**options), TaskSettings('distillers.x', context))


def test_shares_are_those_of_pooling() -> None:
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in labelled().data_samples])
    one_hot = F.one_hot(labels.where(labels < 4, 4), 5)[..., :4].movedim(-1, 1).float()
    for grid in ((16, 16), (8, 4), (1, 1), (64, 64)):
        torch.testing.assert_close(class_shares(labels, 4, grid), F.adaptive_avg_pool2d(one_hot, grid))
    # A map that is finer than the labels repeats them.
    torch.testing.assert_close(
        class_shares(labels, 4, (128, 128)), one_hot.repeat_interleave(2, 2).repeat_interleave(2, 3)
    )


def test_regions_by_hand() -> None:
    labels = torch.full((1, 8, 8), 255)
    labels[0, 2:4, 1:7] = 2
    labels[0, 5, 0] = 0
    counts, boxes = class_regions(labels, 3)
    assert counts.tolist() == [[1, 0, 12]]
    assert boxes[0].tolist() == [[0, 5 / 8, 1 / 8, 6 / 8], [0, 0, 0, 0], [1 / 8, 2 / 8, 7 / 8, 4 / 8]]


def test_objects() -> None:
    batch = labelled(img_shape=(64, 32))
    for sample in batch.data_samples:
        sample.gt_sem_seg.data[..., 32:] = 255
    batch.data_samples[1].gt_sem_seg.data[:] = 255
    batch.data_samples[1].gt_sem_seg.data[:, :16, :8] = 3
    objects = task().objects(batch, torch.zeros(2, 1))
    assert objects.descriptors.shape == (2, 5, 9) and (objects.descriptors.abs() <= 1).all()
    assert objects.labels[1].tolist() == [-1, -1, -1, -1, 3] and objects.valid[1].tolist() == [True, *[False] * 3, True]
    # Box and share are relative to the image, which is the left half of the input.
    assert ((objects.descriptors[1, 4] + 1) / 2).tolist() == [0, 0, 0.25, 0.25, 1 / 16, 0, 0, 0, 1]
    cells = objects.cells((4, 4), None)
    assert cells[1, 4].nonzero().tolist() == [[0, 0]] and (cells[:, 0] == 1).all()
    inside = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    inside[..., :2] = True
    assert torch.equal(objects.cells((4, 4), inside)[0, 0] > 0, inside[0, 0])
    alone = task(context=False).objects(batch, torch.zeros(2, 1))
    assert alone.labels.tolist() == objects.labels[:, 1:].tolist()


def test_maps_and_losses_of_the_decode_head() -> None:
    assert list(task(in_index=-1).levels(4)) == [3] and list(task(in_index=[0, 2]).levels(4)) == [0, 2]
    assert task().counts('decode.loss_ce') and not task().counts('aux.loss_ce') and not task().counts('aux_0.loss_ce')
    model = nn.Module()
    model.decode_head = nn.ModuleList([Segmentor(0).decode_head, Segmentor([1, 0]).decode_head])
    assert SegmentationTask.fits(model) and not SegmentationTask.fits(nn.Module())
    assert list(SegmentationTask(model, TaskSettings('x')).levels(4)) == [0, 1]


def test_sentences() -> None:
    for name in ('masks', 'reference'):
        with sentence(
            f'distillers.x.{name} is a setting for detectors, and Segmentor is a segmentor; leave {name} out'
        ):
            SegmentationTask(Segmentor(), TaskSettings('distillers.x', **{name: True}))
    for samples in (None, [SimpleNamespace(metainfo={})]):
        with sentence('distillers.x: LabelGuidedDistiller encodes the classes of the pixels'):
            task().objects(Batch(torch.zeros(1, 3, 8, 8), samples), torch.zeros(1, 1))


def segmentor() -> Any:
    """A small FCN of MMSegmentation with an auxiliary head."""
    pytest.importorskip('mmseg')
    register_scope('mmseg')
    head = dict(type='FCNHead', num_convs=1, concat_input=False, num_classes=4, channels=8, align_corners=False)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(
            dict(
                type='EncoderDecoder',
                data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), seg_pad_val=255),
                backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
                decode_head=dict(head, in_channels=32, in_index=3, norm_cfg=dict(type='BN')),
                auxiliary_head=dict(head, in_channels=16, in_index=2),
                train_cfg={},
                test_cfg=dict(mode='whole'),
            )
        )


def test_the_decode_head_learns_on_the_maps() -> None:
    student = segmentor().train()
    one = LabelGuidedDistiller(channels=16, encoder_width=0.125, key='distillers.guide')
    reports: list[Any] = []
    session = DistillSession(student, {'guide': one}, {}, lambda: None, [reports.append])
    session.weights = {'guide': 1.0}
    batch = labelled()
    samples = batch.data_samples
    for sample in samples:
        sample.gt_sem_seg.data = sample.gt_sem_seg.data.long()
    before = copy.deepcopy({name: buffer for name, buffer in student.decode_head.named_buffers() if 'mean' in name})
    losses = student(torch.randn(2, 3, 64, 64), samples, mode='loss')
    after = {name: buffer for name, buffer in student.decode_head.named_buffers() if 'mean' in name}
    session.detach()
    assert one.instructor is not None and one.instructor.encoder.input_transform.matrix.out_features == 9**2
    terms: dict[str, Tensor] = {term.key: term.raw for term in reports[-1].terms}
    assert list(terms) == ['distill.guide.loss_feat', 'distill.guide.loss_head']
    assert before.keys() == after.keys() and 'extract_feat' not in vars(student)
    losses['distill.guide.loss_head'].backward()
    assert student.decode_head.conv_seg.weight.grad.abs().sum() > 0
    assert all(param.grad is None for param in student.auxiliary_head.parameters())
    assert student.backbone.conv1.weight.grad.abs().sum() > 0, 'through the appearance of the regions'
    assert all(param.grad is not None for param in one.instructor.parameters())
