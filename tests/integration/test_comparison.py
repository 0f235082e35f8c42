"""A comparison on generated digits, trained: the plain arm of equal compute, a control, and a second call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import config

from kd_plugins.commands import compare, dispatch, make_digits
from kd_plugins.comparison import cost, execution
from kd_plugins.errors import KDPluginsError
from tests.command_runs import Run, run

__all__ = ['run']  # a fixture

pytest.importorskip('mmdet')
pytest.importorskip('scipy')
pytest.importorskip('sklearn')
pytest.importorskip('matplotlib')
BASE = Path(__file__).resolve().parents[2] / 'configs' / 'gfl' / 'gfl_r18_digits.py'
PLAIN = """
_base_ = {base!r}
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16, stacked_convs=1), test_cfg=dict(score_thr=0.0))
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = [dict(type='MultiStepLR', milestones=[1], end=1)]
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
default_hooks = dict(logger=dict(interval=1))
"""
TAUGHT = """
_base_ = './plain.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(distill=dict(
    type='kd_plugins.DistillHook',
    teacher=dict(
        type='kd_plugins.FrozenTeacher', config=dict(model={{{{_base_.model}}}}, default_scope='mmdet'),
        checkpoint={checkpoint!r}),
    distillers=dict(localization=dict(type='kd_plugins.LocalizationDistiller', weight=0.5))))
"""


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would start processes, run here: importing MMDetection takes longer than these trainings."""
    commands: list[list[str]] = []

    def execute(command: Sequence[str], *_: Any) -> None:
        from mmdet.visualization import DetLocalVisualizer

        DetLocalVisualizer._instance_dict.clear()  # MMEngine would keep that of the first training, with its folder
        commands.append(list(command[3:]))
        if dispatch.main(commands[-1]):
            raise KDPluginsError(f'{command} failed')

    # MMEngine lays a config out four times in each training, half a second each time.
    monkeypatch.setattr(config, 'FormatCode', lambda text, **_: (text, True))
    monkeypatch.setattr(execution, 'execute', execute)
    monkeypatch.setattr(cost, 'execute', execute)
    monkeypatch.setattr(cost, 'STEPS', 3)
    monkeypatch.setattr(cost, 'WARMUP', 1)
    return commands


@pytest.mark.slow
def test_equal_compute_and_a_random_teacher_on_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: list[list[str]], run: Run
) -> None:
    make_digits.main([str(tmp_path / 'digits'), '--num-train', '8', '--num-val', '4', '--size', '64'])
    monkeypatch.setenv('DIGITS_ROOT', str(tmp_path / 'digits'))
    plain, taught, weights = (tmp_path / name for name in ('plain.py', 'taught.py', 'teacher.pth'))
    plain.write_text(PLAIN.format(base=str(BASE)))
    taught.write_text(TAUGHT.format(checkpoint=str(weights)))
    torch.save({'state_dict': _weights(plain)}, weights)
    arguments = [plain, taught, '--equal', 'compute', '--control', 'random-teacher', '--seeds', '0']
    arguments += ['--work-dir', tmp_path / 'runs', '--page', tmp_path / 'page.md']
    outcome = run(compare, *arguments)
    assert outcome.status == 0, outcome.err
    assert [words[0] for words in in_this_process] == ['overhead', *['train'] * 4]
    values = json.loads((tmp_path / 'runs' / 'report' / 'results.json').read_text())
    ratio = json.loads((tmp_path / 'runs' / 'cost' / 'taught.json').read_text())['ratio']
    # A teacher of the student's size cannot be free, so one epoch becomes two, or three on a busy machine.
    assert ratio > 1 and list(values['arms']) == ['plain', 'taught', 'taught_random-teacher', 'plain_equal-compute']
    longer = tmp_path / 'runs' / 'plain_equal-compute' / 'seed_0'
    lines = [
        json.loads(line) for path in longer.glob('*/vis_data/scalars.json') for line in path.read_text().splitlines()
    ]
    epochs = [line['epoch'] for line in lines if 'epoch' in line]
    assert max(epochs) == -(-ratio // 1)
    assert values['about']['taught_random-teacher']['seconds'] > 0 and not values['notes']
    before, page = len(in_this_process), (tmp_path / 'page.md').read_bytes()
    again = run(compare, *arguments)
    assert again.status == 0 and 'finished before' in again.out
    assert len(in_this_process) == before and (tmp_path / 'page.md').read_bytes() == page


def _weights(path: Path) -> dict[str, torch.Tensor]:
    from mmengine.registry import MODELS, DefaultScope

    from kd_plugins.config.loading import load_config

    model = load_config(str(path)).model
    with DefaultScope.overwrite_default_scope('mmdet'):
        weights: dict[str, torch.Tensor] = MODELS.build(model).state_dict()
    return weights
