"""Dual self-distillation in real runs of MMSegmentation's UNet: the plain checkpoint, resuming, the logged terms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip('mmseg')
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.config.loading import load_config
from tests.integration.runs import assert_same, weights
from tests.integration.unet_runs import SMALL, run

ROOT = Path(__file__).resolve().parents[2]
LOSSES = {'decode.loss_ce', 'decode.loss_dice'}
TERMS = {f'distill.dsd.loss_{branch}_{kind}' for branch in ('encoder', 'decoder') for kind in ('seg', 'kl')}


def test_training_and_the_plain_checkpoint(tmp_path: Path) -> None:
    runner, recorder = run('unet_isbi_dsd', tmp_path / 'dsd')
    assert len(recorder.losses) == 4
    for losses in recorder.losses:
        assert losses.keys() >= LOSSES | TERMS and all(value == value and value > 0 for value in losses.values())
    checkpoint = torch.load(tmp_path / 'dsd' / 'epoch_2.pth', weights_only=True)
    plain = load_config(str(ROOT / 'configs' / 'dual_self' / 'unet_isbi.py'), SMALL)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(plain.model)
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    assert_same(weights(model), weights(runner.model))
    # The heads are stored separately.
    heads = {name for name in checkpoint['distill']['distillers'] if '.heads.' in name}
    assert len(heads) == 8 * 4
    assert not [name for name in runner.model.state_dict() if 'heads' in name]


def test_weight_zero_is_the_plain_run(tmp_path: Path) -> None:
    plain, first = run('unet_isbi', tmp_path / 'plain')
    off, second = run('unet_isbi_dsd', tmp_path / 'off', {'default_hooks.distill.distillers.dsd.weight': 0.0})
    assert_same(weights(plain.model), weights(off.model))
    for distilled, task in zip(second.losses, first.losses):
        assert {name: distilled[name] for name in task} == task
        assert all(distilled[name] == 0 for name in TERMS)


def test_resuming(tmp_path: Path) -> None:
    whole, first = run('unet_isbi_dsd', tmp_path / 'whole')
    run('unet_isbi_dsd', tmp_path / 'cut', kill_at=2)
    resumed, second = run('unet_isbi_dsd', tmp_path / 'cut', resume=True)
    assert second.losses == first.losses[2:]
    assert_same(weights(whole.model), weights(resumed.model))


@pytest.mark.parametrize(
    ('name', 'terms'),
    [
        ('unet_isbi_deep-supervision', {'distill.dsd.loss_decoder_seg'}),
        ('unet_isbi_byot', {f'distill.byot.loss_{name}' for name in ('encoder_seg', 'encoder_kl', 'feature')}),
    ],
)
def test_other_variants(name: str, terms: set[str], tmp_path: Path) -> None:
    _, recorder = run(name, tmp_path / 'run')
    for losses in recorder.losses:
        assert {key for key in losses if key.startswith('distill')} == terms
        assert all(losses[key] > 0 for key in terms)
