"""Heads with FDR: their losses, their branches, their start and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from kd_plugins.errors import ConfigError
from tests.models.dfine.small_detectors import FAMILIES, batch, build, config, losses, run_decoder


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def test_distillation_can_be_left_out(family: str) -> None:
    made = build(config(family, **{'bbox_head.loss_ddf': None, 'bbox_head.matching': 'own'})).train()
    actual = losses(made, [3, 2])
    assert 'd0.loss_fgl' in actual and not [key for key in actual if 'ddf' in key]


def test_class_loss_of_the_base_config_stays_possible(family: str) -> None:
    """FDR with the base config's focal loss."""
    plain = config(family, fdr=False)['bbox_head']['loss_cls']
    model_config = config(family)
    model_config['bbox_head']['loss_cls'] = plain
    assert losses(build(model_config).train(), [2, 0])['loss_cls'].isfinite()


def test_branches_that_nothing_uses_are_gone() -> None:
    head = build(config('deformable')).bbox_head
    with_parameters = [bool(list(branch.parameters())) for branch in head.reg_branches]
    # The first branch makes initial boxes, the one after the last layer makes proposals.
    assert with_parameters[0] and with_parameters[-1] and not any(with_parameters[1:-1])
    assert head.initial_branch() is head.reg_branches[0] and head.class_branch(1) is head.cls_branches[1]
    dab = build(config('dab')).bbox_head
    assert dab.initial_branch() is dab.fc_reg and dab.class_branch(0) is dab.class_branch(1) is dab.fc_cls


def test_scores_are_corrected_by_the_quality_of_the_place(family: str) -> None:
    model = build(config(family)).eval()
    with torch.no_grad():
        states, refinement = run_decoder(model, batch(model, [2, 2]))
        scores, boxes = model.bbox_head(states, refinement)
        head = model.bbox_head
        for layer, hidden in enumerate(states):
            plain = head.class_branch(layer)(hidden)
            quality = head.fdr.qualities[layer](refinement.logits[layer])
            torch.testing.assert_close(scores[layer], plain + quality)
    assert torch.equal(boxes, refinement.boxes)


def test_training_needs_an_assigner() -> None:
    head = build(config('dino')).bbox_head
    head.assigner = None
    with pytest.raises(ConfigError, match="train_cfg.assigner: .*valid: 'HungarianAssigner'"):
        head.criterion()


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'matching': 'unoin'}, r"bbox_head\.matching is 'unoin'; nearest: 'union'"),
        ({'reg_max': 15}, r'reg_max is 15; .* even number'),
        (
            {'reg_max': 10**9},
            r'^model\.bbox_head\.reg_max is 1000000000; valid: an even integer of at least 2, such as 32$',
        ),
        ({'reg_max': '32'}, r"^model\.bbox_head\.reg_max is '32'; valid: an integer, such as 32$"),
        ({'reg_mx': 32}, r"^model\.bbox_head: FDRDINOHead has no argument 'reg_mx'; nearest: 'reg_max'"),
        ({'up': -1}, r'^model\.bbox_head\.up is -1; it must be a finite number > 0, such as 0\.5$'),
        (
            {'loss_cls': None},
            r"^model\.bbox_head\.loss_cls is not given; nearest: loss_cls=dict\(type='kd_plugins\.VFLLoss'",
        ),
        ({'loss_fgl': dict(type='kd_plugins.DDFLoss')}, r"^model\.bbox_head\.loss_fgl\.type is 'DDFLoss', .*FGLLoss'$"),
        (
            {'loss_ddf': dict(type='kd_plugins.DDFLoss', temperature='hot')},
            r"^model\.bbox_head\.loss_ddf\.temperature is 'hot'; valid: a finite number, such as 5\.0$",
        ),
        (
            {'loss_cls': dict(type='CrossEntropyLoss', use_sigmoid=False)},
            r'bbox_head\.loss_cls: CrossEntropyLoss uses no sigmoid',
        ),
        (
            {'loss_proposal_cls': dict(type='CrossEntropyLoss', use_sigmoid=False)},
            r'bbox_head\.loss_proposal_cls: CrossEntropyLoss uses no sigmoid',
        ),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], sentence: str) -> None:
    model_config = config('dino')
    model_config['bbox_head'].update(changes)
    with pytest.raises(ConfigError, match=sentence):
        build(model_config)


@pytest.mark.parametrize('family', ['dino', 'deformable'])
def test_proposals_and_first_layer_learn_as_in_the_plain_detector(family: str) -> None:
    """For equal weights, matching and class loss, what FDR does not change has the plain losses and gradients."""
    plain_config, model_config = config(family, fdr=False), config(family)
    loss_cls = plain_config['bbox_head']['loss_cls']
    model_config['bbox_head'].update(loss_cls=loss_cls, matching='own')
    assert model_config['bbox_head']['loss_proposal_cls'] == loss_cls
    plain, with_fdr = build(plain_config).train(), build(model_config, seed=1).train()
    with_fdr.load_state_dict(plain.state_dict(), strict=False)
    actual = {}
    for name, made in (('plain', plain), ('with_fdr', with_fdr)):
        made.backbone.eval()
        values = {key: value.reshape(()) for key, value in losses(made, [3, 2]).items()}
        kept = {key: value for key, value in values.items() if key.startswith('enc_')}
        kept |= {key.replace('init.', 'd0.'): value for key, value in values.items() if key.startswith('init.')}
        kept |= {key: value for key, value in values.items() if key.startswith('d0.') and name == 'plain'}
        weights = [made.bbox_head.cls_branches[-1].weight, made.bbox_head.reg_branches[-1][-1].weight]
        total = torch.stack([value for key, value in kept.items() if key.startswith('enc_')]).sum()
        actual[name] = kept, torch.autograd.grad(total, weights)
    assert actual['plain'][0].keys() == actual['with_fdr'][0].keys()
    assert len(actual['plain'][0]) == {'dino': 9, 'deformable': 6}[family]
    for key, value in actual['plain'][0].items():
        torch.testing.assert_close(actual['with_fdr'][0][key], value, msg=lambda text, key=key: f'{key}: {text}')
    for first, second in zip(*(gradients for _, gradients in actual.values())):
        assert first.abs().sum() > 0
        torch.testing.assert_close(first, second)
