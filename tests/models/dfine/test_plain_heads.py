"""DINO's plain head with the class losses of the head with FDR: the control for the class loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.models.losses import FocalLoss
from mmengine.config import Config

from kd_plugins.errors import ConfigError
from kd_plugins.models.dfine import ProposalLossDINOHead, VFLLoss
from tests.models.dfine.small_detectors import build, config, losses

ROOT = Path(__file__).resolve().parents[3]


def control(**changes: Any) -> dict[str, Any]:
    """Return the plain detector with the class losses of the one with FDR."""
    model_config, with_fdr = config('dino', fdr=False), config('dino')['bbox_head']
    model_config['bbox_head'].update(type='kd_plugins.ProposalLossDINOHead')
    model_config['bbox_head'].update({key: with_fdr[key] for key in ('loss_cls', 'loss_proposal_cls')}, **changes)
    return model_config


def test_class_losses_are_those_of_the_head_with_fdr() -> None:
    """For equal weights and matches: proposals, first layer and denoising queries, whose boxes FDR does not change."""
    torch.manual_seed(0)
    plain, with_fdr_config = build(control()).train(), config('dino')
    with_fdr_config['bbox_head']['matching'] = 'own'
    with_fdr = build(with_fdr_config, seed=1).train()
    with_fdr.load_state_dict(plain.state_dict(), strict=False)
    assert isinstance(plain.bbox_head.loss_cls, VFLLoss)
    kept = []
    for made, prefix in ((plain, 'd0.'), (with_fdr, 'init.')):
        made.backbone.eval()
        values = losses(made, [3, 2])
        keys = ['enc_loss_cls', f'{prefix}loss_cls', f'{prefix}dn_loss_cls', 'enc_loss_bbox', 'enc_loss_iou']
        picked = [values[key].reshape(()) for key in keys]
        weights = [made.bbox_head.cls_branches[0].weight, made.bbox_head.cls_branches[-1].weight]
        kept.append((picked, torch.autograd.grad(sum(picked[:3]), weights)))
    for part in range(2):
        for actual, expected in zip(kept[0][part], kept[1][part]):
            assert actual.abs().sum() > 0
            torch.testing.assert_close(actual, expected)


def test_two_losses_change_what_they_name() -> None:
    """With focal loss for the queries, everything is the plain head; the proposals alone change with their loss."""
    plain = build(config('dino', fdr=False)).train()
    focal = dict(config('dino', fdr=False)['bbox_head']['loss_cls'])
    expected = losses(plain, [3, 2])
    for options in ({}, {'loss_proposal_cls': None}, {'loss_proposal_cls': dict(type='kd_plugins.VFLLoss')}):
        made = build(control(loss_cls=focal, **options)).train()
        made.load_state_dict(plain.state_dict())
        actual = losses(made, [3, 2])
        assert list(actual) == list(expected) or options != {'loss_proposal_cls': None}
        assert actual.keys() == expected.keys() and isinstance(made.bbox_head.loss_cls, FocalLoss)
        different = {key for key, value in expected.items() if not torch.equal(value, actual[key])}
        assert different == ({'enc_loss_cls'} if options.get('loss_proposal_cls') else set())


def test_a_batch_without_objects() -> None:
    values = losses(build(control()).train(), [0, 0])
    assert all(value.isfinite().all() for value in values.values())


def test_its_checkpoint_is_that_of_the_plain_detector() -> None:
    plain, made = build(config('dino', fdr=False)), build(control())
    assert made.state_dict().keys() == plain.state_dict().keys()
    assert type(made.bbox_head) is ProposalLossDINOHead


def test_the_shipped_control_differs_from_d_fine_in_the_boxes_alone() -> None:
    folder = ROOT / 'configs' / 'dfine'
    quality = Config.fromfile(folder / 'dino_r18_bccd_quality-loss.py').to_dict()
    golsd = Config.fromfile(folder / 'dino_r18_bccd_golsd.py').to_dict()
    for made in (quality, golsd):
        made['model'].update(type='DINO')
        made['model']['bbox_head'].update(type='DINOHead')
    assert quality == golsd


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'loss_proposal_cls': 3}, r'^model\.bbox_head\.loss_proposal_cls is 3'),
        (
            {'loss_proposal_cls': dict(type='CrossEntropyLoss', use_sigmoid=False)},
            r'bbox_head\.loss_proposal_cls: CrossEntropyLoss uses no sigmoid',
        ),
        ({'loss_proposl_cls': None}, r"ProposalLossDINOHead has no argument 'loss_proposl_cls'; nearest: 'loss_prop"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build(control(**changes))
