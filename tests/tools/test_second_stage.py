"""The benchmark of the second stage: three runs that compute what they should, on a narrow RTMPose."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmpose')

ROOT = Path(__file__).resolve().parents[2]
STUDENT = ROOT / 'configs' / 'dwpose' / 'rtmpose-t_lspet.py'
NARROW = ['model.backbone.widen_factor=0.125', 'model.head.in_channels=128']

benchmark = import_module('tools.benchmark.second_stage')


@pytest.mark.slow
def test_three_arms_are_measured(run: Any, tmp_path: Path) -> None:
    stage = tmp_path / 'stage2.py'
    stage.write_text(
        f"_base_ = '{STUDENT}'\n"
        "default_hooks = dict(distill=dict(type='kd_plugins.DistillHook', restart=dict(parts=['head']), "
        "task_weight=0.0, teacher=dict(type='kd_plugins.FinishedTeacher'), "
        "distillers=dict(simcc=dict(type='kd_plugins.SimCCDistiller'))))\n"
    )
    out = tmp_path / 'numbers.json'
    arguments = [stage, '--student', STUDENT, '--generated', '--steps', '1', '--warmup', '1']
    arguments += ['--batch-size', '2', '--out', out, '--cfg-options', *NARROW]
    assert "against MMPose's" in run(benchmark, *arguments).out
    peaks = {name: cost['peak_bytes'] for name, cost in json.loads(out.read_text()).items()}
    assert peaks['ours'] < peaks['mmpose'] < peaks['plain'], 'no unused backbone, no activations of a frozen one'
