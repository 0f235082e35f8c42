"""What tools/preflight.py accepts and what it refuses, on MMDetection's GFL and generated images."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from kd_plugins.profiling.memory import LiveBytes
from kd_plugins.profiling.timing import Cost

pytest.importorskip('mmdet')
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / 'gfl'
preflight, overhead = import_module('kd_plugins.commands.preflight'), import_module('kd_plugins.commands.overhead')
DISTILL = 'default_hooks.distill.distillers'
# A network that runs in a blink.
SMALL = ['model.backbone.base_channels=8', 'model.neck.in_channels=[8,16,32,64]']


def check(capsys, monkeypatch, *options, config='gfl_r18_bccd_ema-ld.py'):
    monkeypatch.delenv('KD_DEBUG', raising=False)
    arguments = ['preflight', str(CONFIGS / config), '--generated', '--cfg-options', *SMALL, *options]
    monkeypatch.setattr(sys, 'argv', arguments)
    try:
        status = preflight.main()
    except SystemExit as stopped:
        status = stopped.code
    found = capsys.readouterr()
    return status, found.out, found.err


def test_a_good_config_passes_and_shows_taps_losses_and_teacher(capsys, monkeypatch):
    status, out, _ = check(capsys, monkeypatch)
    assert status == 0
    assert 'bbox_head.scales.*  2x68x16x20' in out
    assert 'distill.localization.loss_ld' in out and '0 (later ' in out
    assert 'EMATeacher' in out


def test_a_baseline_passes_and_is_said_to_be_one(capsys, monkeypatch):
    status, out, _ = check(capsys, monkeypatch, config='gfl_r18_bccd.py')
    assert status == 0
    assert 'trains without distillation' in out


def test_a_term_without_a_gradient_on_the_student_fails(capsys, monkeypatch):
    # A frozen stage at the network's entrance learns nothing, whatever is asked of it.
    options = [f'{DISTILL}.f.type=kd_plugins.FeatureDistiller', f'{DISTILL}.f.student=backbone.layer1']
    status, out, err = check(
        capsys, monkeypatch, *options, 'model.backbone.frozen_stages=1', f'{DISTILL}.f.adapter=None'
    )
    assert status == 1, err
    assert "'distill.f.loss_feat' has no gradient on the student" in out


def test_a_wrong_path_is_a_sentence(capsys, monkeypatch):
    status, _, err = check(capsys, monkeypatch, f'{DISTILL}.localization.head=bbox_haed')
    assert status == 2
    assert "nearest: 'bbox_head" in err and 'Traceback' not in err


def test_a_wrong_class_count_is_a_sentence(capsys, monkeypatch):
    status, _, err = check(capsys, monkeypatch, 'model.bbox_head.num_classes=80')
    assert status == 2
    assert 'model.bbox_head.num_classes is 80' in err and '3 classes' in err


def test_a_wrong_channel_count_is_a_sentence(capsys, monkeypatch):
    options = [f'{DISTILL}.f.type=kd_plugins.FeatureDistiller', f'{DISTILL}.f.student=backbone.layer1']
    options += [f'{DISTILL}.f.adapter.type=kd_plugins.PointwiseAdapter', f'{DISTILL}.f.adapter.in_channels=7']
    status, _, err = check(capsys, monkeypatch, *options, f'{DISTILL}.f.adapter.out_channels=8')
    assert status == 2
    assert 'distillers.f' in err and '7' in err and 'Traceback' not in err


def test_overhead_prints_ratios_of_interleaved_steps(capsys, monkeypatch, tmp_path):
    out = tmp_path / 'numbers.json'
    arguments = [str(CONFIGS / 'gfl_r18_bccd_ema-ld.py'), '--baseline', str(CONFIGS / 'gfl_r18_bccd.py'), '--generated']
    arguments += ['--steps', '2', '--warmup', '1', '--out', str(out), '--cfg-options', *SMALL]
    monkeypatch.setattr(sys, 'argv', ['overhead', *arguments])
    overhead.main()
    assert 'peak memory' in capsys.readouterr().out
    numbers = json.loads(out.read_text())
    assert numbers['distilled_step_s'] > 0
    # The teacher's weights are held, and its forward pass adds nothing that the backward pass needs.
    assert 1.0 < numbers['memory_ratio'] < 2.0


def test_the_median_is_robust_and_pairs_are_kept():
    numbers = overhead.summarize(Cost([1.2, 9.0, 1.2], peak_bytes=12), Cost([1.0, 6.0, 1.0], peak_bytes=10))
    assert numbers['time_ratio_of_medians'] == pytest.approx(1.2)
    assert numbers['time_median_of_ratios'] == pytest.approx(1.2)
    assert numbers['memory_ratio'] == pytest.approx(1.2)


def test_live_bytes_count_activations_until_backward():
    weight = torch.ones(1000, requires_grad=True)
    with LiveBytes([weight]) as live:
        value = weight.exp().sin().sum()
        assert live.now == 2 * 4000 + 4  # the weight, the exponential that both derivatives need, the sum
        value.backward()
        del value
        assert live.now == 2 * 4000  # the weight and its gradient
    assert live.peak >= 3 * 4000
