from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.distillers import USKDDistiller
from kd_plugins.losses import uskd_loss
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, make_batch, sentence
from tests.distillers.pixels import Segmentor, cell_labels, labelled, rows


def taps(images: int = 2, classes: int = 4, weak_size: int = 16) -> dict:
    generator = torch.Generator().manual_seed(3)
    sizes = {'logits': 16, 'weak': weak_size}
    return {name: [torch.randn(images, classes, size, size, generator=generator)] for name, size in sizes.items()}


def make(**options) -> USKDDistiller:
    distiller = USKDDistiller(**options)
    distiller.check_models(Segmentor(), nn.Identity())
    return distiller


@pytest.mark.parametrize('rank_mode', ['prob', 'logprob'])
def test_pixels(rank_mode: str) -> None:
    student, batch = taps(), labelled(img_shape=(48, 64))
    distiller = make(rank_mode=rank_mode, factors=dict(others=0.5))
    assert distiller.teacher_taps() == {} and distiller.source == 'student'
    distiller.initialize(student, {})
    actual = check_step(distiller, student, {}, batch)['loss_uskd']
    s, w, labels = (x[:, :12] for x in (rows(student), rows(student, 'weak'), cell_labels(batch)))
    torch.testing.assert_close(actual, uskd_loss(s, w, labels, 1.0, 0.5, 0.005, rank_mode))
    for alias in ('logits', 'weak'):
        gradient = student[alias][0].grad.abs().sum(1)
        assert gradient[:, 0].sum() == 0 and gradient[:, 12:].sum() == 0 and (gradient[:, 1:12] > 0).all()


def test_weak_head_of_another_size() -> None:
    student = taps(weak_size=8)
    distiller = make()
    distiller.initialize(student, {})
    check_step(distiller, student, {}, labelled())
    assert (student['weak'][0].grad.abs().sum(1) > 0).all()
    check_step(distiller, student, {}, labelled(img_shape=(44, 64)))
    gradient = student['weak'][0].grad.abs().sum(1)
    assert (gradient[:, :6] > 0).all() and gradient[:, 6:].sum() == 0


def test_images() -> None:
    student = {'logits': [torch.randn(4, 5)], 'weak': [torch.randn(4, 5)]}
    batch = make_batch([None] * 4)
    for index, sample in enumerate(batch.data_samples[:3]):
        sample.gt_label = torch.tensor([index])
    distiller = USKDDistiller('head.fc', 'neck.fc')
    distiller.initialize(student, {})
    actual = check_step(distiller, student, {}, batch)['loss_uskd']
    s, w = (student[alias][0].detach()[:3] for alias in ('logits', 'weak'))
    torch.testing.assert_close(actual, uskd_loss(s, w, torch.arange(3)))


def test_small_batches() -> None:
    batch = labelled(images=1)
    batch.data_samples[0].gt_sem_seg.data[:] = 255
    assert check_step(make(), taps(images=1), {}, batch)['loss_uskd'] == 0
    assert check_step(make(), taps(images=0), {}, make_batch([]))['loss_uskd'] == 0


def test_sentences() -> None:
    for options, match in (
        ({'rank_mode': 'probs'}, "rank_mode is 'probs'; nearest: 'prob'"),
        ({'weak': 'decode_head.conv_seg'}, "weak is 'decode_head.conv_seg', the layer of .*logits"),
        ({'factors': {'week': 1.0}}, "factors has the entry 'week'; nearest: 'weak'"),
        ({'factors': dict(target=0, others=0, weak=0)}, 'every part has the factor 0'),
    ):
        with sentence(match):
            USKDDistiller(**options)
    with sentence('factors.others is 0.1 and the head predicts 2 classes'):
        make().initialize(taps(classes=2), {})
    with sentence('the head predicts 1; give the network a channel for each class, the background included, or remove'):
        make().initialize(taps(classes=1), {})
    with sentence('the weak head predicts 3 classes where the network predicts 4'):
        make().initialize({'logits': taps()['logits'], 'weak': taps(classes=3)['weak']}, {})
    with sentence('which has no label for each place'):
        make().initialize({'logits': [torch.randn(2, 9, 4)], 'weak': [torch.randn(2, 9, 4)]}, {})
    with sentence('distillers.own learns from labels and the batch has no gt_sem_seg'):
        own = MODELS.build({'type': 'kd_plugins.USKDDistiller', 'key': 'distillers.own'})
        own(taps(), {}, make_batch([None] * 2))
