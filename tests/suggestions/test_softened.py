"""Recipe of softened targets."""

import pytest
from torch import nn

from kd_plugins.suggestions.recipe import Unsuitable
from kd_plugins.suggestions.softened import softened

from .networks import pair, part

SOFTMAX, SIGMOID = (part('CrossEntropyLoss', use_sigmoid=use) for use in (False, True))


def with_parts(module, **parts):
    for name, one in parts.items():
        module.add_module(name, one)
    return module


def second_stage(loss, kind='StandardRoIHead'):
    return with_parts(part(kind, 'BaseRoIHead'), bbox_head=with_parts(part('Shared2FCBBoxHead'), loss_cls=loss))


def test_labels_and_predictions_share_the_target():
    entry = softened(pair(roi_head=second_stage(SOFTMAX)))
    assert entry['teacher'] == {'type': 'kd_plugins.SnapshotTeacher', 'epochs': 1}
    (schedule,), targets = entry['task_weight'].values(), entry['distillers']['targets']
    assert schedule['end_value'] + targets['weight']['value'] == schedule['value'] == 1.0
    assert targets['divergence'] == 'kl' and not targets['reg']
    head = with_parts(part('FCNHead', 'BaseDecodeHead'), loss_decode=SOFTMAX)
    entry = softened(pair(decode_head=head))
    assert list(entry['task_weight']) == ['decode.loss_ce'] and entry['distillers']['targets']['temperature'] == 1.0


@pytest.mark.parametrize(
    'parts',
    [
        {'roi_head': second_stage(SIGMOID)},
        {'roi_head': second_stage(SOFTMAX, 'CascadeRoIHead')},
        {'roi_head': second_stage(part('SeesawLoss'))},
        {'decode_head': with_parts(part('FCNHead', 'BaseDecodeHead'), loss_decode=nn.ModuleList([SOFTMAX, SIGMOID]))},
        {'bbox_head': part('GFLHead')},
    ],
)
def test_other_class_losses_have_no_mixed_target(parts):
    with pytest.raises(Unsuitable, match='softmax cross-entropy alone'):
        softened(pair(**parts))
