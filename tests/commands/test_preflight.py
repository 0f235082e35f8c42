"""What ``kd_plugins preflight`` accepts and what it refuses, on MMDetection's GFL and generated images."""

from pathlib import Path

import pytest

from kd_plugins.commands import preflight, show_gradients, suggest

pytest.importorskip('mmdet')
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / 'gfl'
DISTILL = 'default_hooks.distill.distillers'
# A network that runs in a blink.
SMALL = ['model.backbone.base_channels=8', 'model.neck.in_channels=[8,16,32,64]']


@pytest.fixture
def check(run):
    def call(*options, config='gfl_r18_bccd_ema-ld.py'):
        return run(preflight, CONFIGS / config, '--generated', '--cfg-options', *SMALL, *options)

    return call


def test_a_good_config_passes_and_shows_taps_losses_and_teacher(check):
    status, out, _ = check()
    assert status == 0
    assert 'bbox_head.scales.*  2x68x16x20' in out
    assert 'distill.localization.loss_ld' in out and '0 (later ' in out
    assert 'EMATeacher' in out


def test_a_baseline_passes_and_is_said_to_be_one(check):
    status, out, _ = check(config='gfl_r18_bccd.py')
    assert status == 0
    assert 'trains without distillation' in out
    assert out.endswith('preflight passed, on generated data: no file of the data sets was looked at\n')


def test_a_term_without_a_gradient_on_the_student_fails(check):
    # A frozen stage at the network's entrance learns nothing, whatever is asked of it.
    options = [f'{DISTILL}.f.type=kd_plugins.FeatureDistiller', f'{DISTILL}.f.student_tap=backbone.layer1']
    status, out, err = check(*options, 'model.backbone.frozen_stages=1', f'{DISTILL}.f.adapter=None')
    assert status == 1, err
    assert "'distill.f.loss_feat' has no gradient on the student" in out


def test_a_wrong_path_is_a_sentence(check):
    status, _, err = check(f'{DISTILL}.localization.head=bbox_haed')
    assert status == 2
    assert "nearest: 'bbox_head" in err and 'Traceback' not in err


def test_a_wrong_class_count_is_a_sentence(check):
    status, _, err = check('model.bbox_head.num_classes=80')
    assert status == 2
    assert 'model.bbox_head.num_classes is 80' in err and '3 classes' in err


def test_a_wrong_channel_count_is_a_sentence(check):
    options = [f'{DISTILL}.f.type=kd_plugins.FeatureDistiller', f'{DISTILL}.f.student_tap=backbone.layer1']
    options += [f'{DISTILL}.f.adapter.type=kd_plugins.PointwiseAdapter', f'{DISTILL}.f.adapter.in_channels=7']
    status, _, err = check(*options, f'{DISTILL}.f.adapter.out_channels=8')
    assert status == 2
    assert 'distillers.f' in err and '7' in err and 'Traceback' not in err


@pytest.mark.parametrize('command', [preflight, suggest, show_gradients], ids=lambda module: module.__name__)
def test_a_part_of_a_config_is_a_sentence(run, tmp_path, command):
    """A file of ``_base_`` alone, or a chain of stages."""
    path = tmp_path / 'part.py'
    path.write_text(
        "default_scope = 'mmdet'\ncustom_hooks = [dict(type='kd_plugins.DistillHook', distillers=dict())]\n"
    )
    status, _, err = run(command, path)
    assert status == 2 and "part.py' has no 'model', so it cannot be trained" in err
    path.write_text(path.read_text() + "model = dict(type='GFL')\n")
    status, _, err = run(command, path)
    assert status == 2 and "part.py' has no 'train_dataloader', so it cannot be trained" in err


def test_the_hook_may_have_another_name(run, tmp_path):
    path = tmp_path / 'named.py'
    distillers = "dict(localization=dict(type='kd_plugins.LocalizationDistiller'))"
    entry = f"dict(type='kd_plugins.DistillHook', teacher=dict(type='kd_plugins.EMATeacher'), distillers={distillers})"
    path.write_text(f"_base_ = '{CONFIGS}/gfl_r18_bccd.py'\ncustom_hooks = [{entry}]\n")
    status, out, err = run(preflight, path, '--generated', '--cfg-options', *SMALL)
    assert status == 0, err
    assert 'distill.localization.loss_ld' in out and 'trains without distillation' not in out
