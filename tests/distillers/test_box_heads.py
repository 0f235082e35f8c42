from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import BoxDistiller
from kd_plugins.distillers.box_heads import BoxDecoder
from tests.distillers.common import sentence
from tests.distillers.dense_heads import CONFIGS, SIZES, detector, features, tapped


def by_mmdet(head: Any, outputs: Any) -> Tensor:
    """The boxes that the head decodes from its own outputs in its prediction, before the suppression of overlaps."""
    priors = head.prior_generator.grid_priors(SIZES, device='cpu', **head_options(head))
    images = []
    for n in range(2):
        boxes = []
        for level, (prior, raw) in enumerate(zip(priors, outputs[1])):
            rows = raw[n].permute(1, 2, 0)
            if hasattr(head, 'reg_max'):
                distances = (
                    head.integral(rows.reshape(-1, 4 * (head.reg_max + 1))) * head.prior_generator.strides[level][0]
                )
                boxes.append(head.bbox_coder.decode(head.anchor_center(prior), distances))
            elif hasattr(head, '_bbox_decode'):
                boxes.append(head._bbox_decode(prior, rows.reshape(-1, 4)))
            else:
                boxes.append(head.bbox_coder.decode(prior, rows.reshape(-1, 4)))
        images.append(torch.cat(boxes))
    return torch.stack(images)


def head_options(head: Any) -> dict[str, bool]:
    return {'with_stride': True} if hasattr(head, '_bbox_decode') else {}


@pytest.mark.parametrize('name', CONFIGS)
def test_boxes_are_those_of_the_head(name: str) -> None:
    model, distiller = detector(name), BoxDistiller()
    distiller.check_models(model, detector(name, seed=1))
    model.eval()  # in training mode FCOS predicts distances in strides, in evaluation mode in pixels
    outputs, predictions = tapped(distiller, model, 'teacher', features())
    expected = by_mmdet(model.bbox_head, predictions)
    decoder = distiller.decoders['student']
    boxes = decoder(outputs['boxes'])
    torch.testing.assert_close(boxes, expected)
    assert boxes.std() > 1
    assert decoder.centers(outputs['boxes']).shape == (boxes.shape[1], 2)
    # The confidence is read in the same order.
    probabilities = distiller.probabilities('teacher', outputs)
    rows = [level.permute(0, 2, 3, 1).reshape(2, -1, 3) for level in predictions[0]]
    expected = torch.cat(rows, dim=1).sigmoid()
    if name == 'yolox':
        objectness = torch.cat([level.permute(0, 2, 3, 1).reshape(2, -1, 1) for level in predictions[2]], dim=1)
        expected = expected * objectness.sigmoid()
    torch.testing.assert_close(probabilities, expected)


@pytest.mark.parametrize('name', CONFIGS)
def test_mode_does_not_matter(name: str) -> None:
    distiller, model = BoxDistiller(), detector(name)
    distiller.check_models(model, detector(name))
    boxes = []
    for training in (True, False):
        model.train(training)
        boxes.append(distiller.decoders['student'](tapped(distiller, model, 'student', features())[0]['boxes']))
    torch.testing.assert_close(*boxes)


@pytest.mark.parametrize('name', CONFIGS)
def test_extreme_outputs_are_finite(name: str) -> None:
    decoder = BoxDecoder.of(detector(name).bbox_head, 'head')
    channels = 32 if name == 'gfl' else 4 * decoder.anchors
    for value in (-1e4, 0.0, 1e4):
        assert decoder([torch.full((1, channels, *size), value) for size in SIZES]).isfinite().all()


def test_decoder_keeps_no_module() -> None:
    distiller = BoxDistiller()
    distiller.check_models(detector('retina'), detector('retina'))
    assert not list(distiller.children()) and not distiller.state_dict()
    decoder = distiller.decoders['student']
    assert not any(isinstance(value, nn.Module) for value in vars(decoder).values())
    assert decoder.anchors == 3 and decoder.cells == '3 in each cell at strides [8.0, 16.0]'


def test_heads_that_change_the_forward_pass_are_refused() -> None:
    head = detector('fcos').bbox_head
    derived = type('OtherHead', (type(head),), {})
    head.__class__ = derived
    assert BoxDecoder.of(head, 'head').layers.scores == 'conv_cls'
    derived.forward_single = lambda self, x: x
    with sentence('head is OtherHead, whose boxes cannot be decoded .*FCOSHead.*LogitDistiller'):
        BoxDecoder.of(head, 'head')
    with sentence('head is ReLU'):
        BoxDecoder.of(nn.ReLU(), 'head')
    with sentence('softmax over classes'):
        BoxDecoder.of(detector('retina', loss_cls={'type': 'CrossEntropyLoss'}).bbox_head, 'head')


@pytest.mark.parametrize('name', ['TOODHead', 'VFNetHead', 'AutoAssignHead', 'FSAFHead', 'RTMDetInsHead'])
def test_heads_of_mmdet_with_other_layers(name: str) -> None:
    heads = pytest.importorskip('mmdet.models.dense_heads')
    head = getattr(heads, name).__new__(getattr(heads, name))
    with sentence(f'head is {name}, whose boxes cannot be decoded'):
        BoxDecoder.of(head, 'head')
