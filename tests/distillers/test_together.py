"""Several distillers in one run: none changes what another one sees."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from kd_plugins.hooks.session import DistillSession
from kd_plugins.registry import MODELS
from kd_plugins.teachers.fixed import FixedTeacher
from tests.fuzz.worlds import world

PYRAMID = 'neck.fpn_convs.*'
PEARSON = {'type': 'kd_plugins.FeatureDistiller', 'kind': 'pearson'}
TOGETHER: dict[str, dict[str, dict[str, Any]]] = {
    'mask_rcnn': {
        'roi': {'type': 'kd_plugins.RoIDistiller'},
        'features': {**PEARSON, 'student_tap': PYRAMID},
        'backbone': {**PEARSON, 'student_tap': 'backbone.layer4', 'kind': 'cosine'},
    },
    'gfl_deep': {
        'cross': {'type': 'kd_plugins.CrossHeadDistiller', 'index': 3},
        'localization': {'type': 'kd_plugins.LocalizationDistiller'},
        'logits': {'type': 'kd_plugins.LogitDistiller', 'logits': 'bbox_head.gfl_cls', 'activation': 'sigmoid'},
        'features': {**PEARSON, 'student_tap': PYRAMID},
    },
    'rtmdet': {
        'logits': {'type': 'kd_plugins.LogitDistiller', 'logits': 'bbox_head.rtm_cls.*', 'activation': 'sigmoid'},
        'features': {**PEARSON, 'student_tap': 'neck.out_convs.*.conv', 'kind': 'channel_wise', 'normalize': 'batch'},
    },
    'dab': {'queries': {'type': 'kd_plugins.QueryDistiller'}, 'features': {**PEARSON, 'student_tap': 'neck'}},
    'deeplabv3': {
        'logits': {
            'type': 'kd_plugins.LogitDistiller',
            'logits': 'decode_head.conv_seg',
            'activation': 'softmax',
            'divergence': 'dist',
        },
        'relation': {'type': 'kd_plugins.RelationDistiller', 'student_tap': 'decode_head.bottleneck'},
        'features': {**PEARSON, 'student_tap': 'backbone.layer4'},
    },
    'simcc': {
        'simcc': {'type': 'kd_plugins.SimCCDistiller'},
        'features': {**PEARSON, 'student_tap': 'backbone.stage4'},
    },
}
"""World to distillers without parameters, whose initial values would depend on what was drawn before."""


def losses_of(
    names: list[str], place: Any, settings: dict[str, dict[str, Any]], teacher: nn.Module
) -> dict[str, Tensor]:
    """Return the losses of some distillers in two steps of one student."""
    student = copy.deepcopy(place.pristine).train()
    fixed = FixedTeacher(None, strict=True, seed=0, fold=True)
    fixed._take(copy.deepcopy(teacher), student)
    built = {name: MODELS.build({**settings[name], 'key': f'distillers.{name}'}) for name in names}
    session = DistillSession(student, built, {'teacher': fixed}, lambda: None)
    session.weights = dict.fromkeys(built, 1.0)
    found: dict[str, Tensor] = {}
    try:
        for iteration in range(2):
            session.iteration = iteration
            torch.manual_seed(0)
            losses = student(**copy.deepcopy(place.data), mode='loss')
            for key, value in losses.items():
                if key.startswith('distill.') and 'loss' in key:
                    found[f'{iteration} {key}'] = torch.as_tensor(value).detach()
    finally:
        session.detach()
    return found


@pytest.mark.slow
@pytest.mark.parametrize('name', list(TOGETHER))
def test_no_distiller_changes_another(name: str) -> None:
    """A loss is the same alone and beside others, whose taps and questions change how the teacher runs."""
    place, settings = world(name), TOGETHER[name]
    with DefaultScope.overwrite_default_scope(place.scope):
        teacher = copy.deepcopy(place.pristine)
        generator = torch.Generator().manual_seed(1)
        for param in teacher.parameters():
            param.data.add_(0.05 * torch.randn(param.shape, generator=generator))
        together = losses_of(list(settings), place, settings, teacher)
        alone: dict[str, Tensor] = {}
        for one in settings:
            alone |= losses_of([one], place, settings, teacher)
    assert alone.keys() == together.keys() and len({key.split('.')[1] for key in alone}) == len(settings)
    assert all(value != 0 for value in alone.values())
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)
