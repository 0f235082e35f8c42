"""Second stage on a segmenter: its decode head restarts and learns from the old decode head."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip('mmseg')

from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from kd_plugins.distillers import LogitDistiller
from kd_plugins.hooks.restart import Restart
from kd_plugins.hooks.session import DistillSession
from kd_plugins.hooks.task_weights import TaskWeights
from kd_plugins.losses import softmax_kl_loss
from kd_plugins.teachers import FinishedTeacher

CLASSES, SIZE = 3, 32


def head(channels: int, index: int) -> dict[str, Any]:
    return {
        'type': 'mmseg.FCNHead',
        'in_channels': channels,
        'in_index': index,
        'channels': 4,
        'num_convs': 1,
        'concat_input': False,
        'dropout_ratio': 0.0,
        'num_classes': CLASSES,
        'norm_cfg': {'type': 'BN'},
        'align_corners': False,
        'loss_decode': {'type': 'mmseg.CrossEntropyLoss'},
    }


@pytest.fixture
def model() -> Iterator[nn.Module]:
    torch.manual_seed(0)
    backbone = {
        'type': 'mmseg.UNet',
        'base_channels': 4,
        'num_stages': 3,
        'strides': (1, 1, 1),
        'enc_num_convs': (1, 1, 1),
        'dec_num_convs': (1, 1),
        'downsamples': (True, True),
        'enc_dilations': (1, 1, 1),
        'dec_dilations': (1, 1),
        'norm_cfg': {'type': 'BN'},
    }
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield MODELS.build(
            {
                'type': 'mmseg.EncoderDecoder',
                'data_preprocessor': {'type': 'mmseg.SegDataPreProcessor'},
                'backbone': backbone,
                'decode_head': head(4, 2),
                'auxiliary_head': head(8, 1),
                'train_cfg': {},
                'test_cfg': {'mode': 'whole'},
            }
        )


def batch(seed: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo={'img_shape': (SIZE, SIZE), 'ori_shape': (SIZE, SIZE)})
        sample.gt_sem_seg = PixelData(data=torch.randint(0, CLASSES, (1, SIZE, SIZE), generator=generator))
        samples.append(sample)
    return {'inputs': torch.randn(2, 3, SIZE, SIZE, generator=generator), 'data_samples': samples}


def test_the_new_decode_head_learns_from_the_old_one(model: nn.Module) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = copy.deepcopy(model).eval()
    restart, teacher = Restart(['decode_head']), FinishedTeacher()
    teacher.frozen = restart.freeze(model)
    teacher.prepare(model)
    torch.manual_seed(1)
    for module in model.decode_head.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    distiller = LogitDistiller('decode_head.conv_seg', activation='softmax', temperature=1.0)
    session = DistillSession(model, {'logits': distiller}, {'teacher': teacher}, lambda: None)
    session.weights['logits'], session.task_weights = 1.0, TaskWeights(0.0)
    outputs: dict[str, Tensor] = {}
    model.decode_head.conv_seg.register_forward_hook(lambda module, args, out: outputs.update(student=out.detach()))
    whole.decode_head.conv_seg.register_forward_hook(lambda module, args, out: outputs.update(teacher=out))
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], 1e-2)
    values = []
    for step in range(30):
        model.train()
        restart.hold()
        data = batch(step % 2)
        losses = model(**data, mode='loss')
        assert {'task.decode.ce', 'task.aux.ce', 'decode.acc_seg', 'distill.logits.loss_logit'} <= losses.keys()
        with torch.no_grad():
            whole(data['inputs'], mode='tensor')
        expected = softmax_kl_loss([outputs['student']], [outputs['teacher']], 1.0, 1)
        value = losses['distill.logits.loss_logit']
        torch.testing.assert_close(value.detach(), expected, rtol=1e-4, atol=1e-6)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    session.detach()
    assert values[-1] < 0.5 * values[0]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) or name.startswith('decode_head.'), name
