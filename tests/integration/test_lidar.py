"""A LiDAR detector with a teacher: the same voxels for both, an unchanged student, a plain checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet3d')

from mmengine.config import Config

from kd_plugins.config.data_checks import check_data
from kd_plugins.config.loading import load_config
from kd_plugins.datasets.lidar_scenes import make_split
from kd_plugins.hooks.observer import StepObserver
from kd_plugins.runner.launch import build_runner
from kd_plugins.runner.steps import batches, distill_hook, drive, temporary_runner, train_step
from kd_plugins.testing import use_generated_data

ROOT = Path(__file__).resolve().parents[2]


def small_config(name: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Config:
    """A shipped config on small generated clouds, with a random teacher in the place of a trained one."""
    monkeypatch.chdir(ROOT)  # the teacher's config is named from there
    config = load_config(f'configs/local_graph/{name}.py')
    use_generated_data(config)
    config.train_dataloader.dataset.num_points = 900
    if 'distill' in config.default_hooks:
        changes = {'default_hooks.distill.teacher.checkpoint': None, **changes}
    config.merge_from_dict(changes)
    return config


def run(config: Config, steps: int = 1) -> dict[str, Any]:
    """Losses of some steps, what the taps gave, and the student's final state."""
    found: dict[str, Any] = {'losses': []}
    with temporary_runner(config, generated=False) as (runner, _):
        hook = distill_hook(runner)
        if hook is not None:
            observer = StepObserver()
            hook.subscribe(observer)

        def body() -> None:
            torch.manual_seed(0)
            for index, batch in enumerate(batches(runner, steps)):
                outputs = train_step(runner, index, batch)
                found['losses'].append({name: float(value) for name, value in outputs.items()})
            if hook is not None:
                found['report'] = observer.report

        drive(runner, body)
        found['keys'] = list(runner.model.state_dict())
    return found


def test_teacher_and_student_encode_the_same_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(small_config('pointpillars_x4_scenes_local', monkeypatch), steps=3)
    ours, theirs = (getattr(found['report'], f'{role}_shapes')['voxel_encoder'] for role in ('student', 'teacher'))
    assert [shape[0] for shape in ours] == [shape[0] for shape in theirs] and ours[0][0] > 900
    assert (ours[0][1], theirs[0][1]) == (16, 32)
    values = [losses['distill.local.loss_local_graph'] for losses in found['losses']]
    assert all(0 < value < 100 for value in values)
    assert found['keys'] == run(small_config('pointpillars_x4_scenes', monkeypatch))['keys']


@pytest.mark.parametrize('legacy', [False, True])
def test_a_teacher_leaves_the_students_input_alone(legacy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    change = {'model.voxel_encoder.legacy': legacy}
    plain = run(small_config('pointpillars_x4_scenes', monkeypatch, **change))
    config = small_config('pointpillars_x4_scenes_local', monkeypatch, **change)
    config.default_hooks.distill.teacher = dict(type='kd_plugins.EMATeacher', momentum=0.1, mode='extract_feat')
    found = run(config)
    for name in ('loss_cls', 'loss_bbox', 'loss_dir'):
        assert found['losses'][0][name] == plain['losses'][0][name], name


@pytest.mark.parametrize('name', ['pointpillars_x4_scenes', 'pointpillars_kitti-mini'])
def test_training_and_evaluation_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if 'kitti' in name:
        if not Path('../shared/data/kitti').is_dir():
            pytest.skip('../shared/data/kitti is not there')
    else:
        monkeypatch.setenv('LIDAR_SCENES_ROOT', str(tmp_path / 'scenes'))
        for split in ('train', 'val'):
            make_split(tmp_path / 'scenes', split, 4)
    config = load_config(f'configs/local_graph/{name}.py')
    check_data(config)
    config.merge_from_dict(
        {
            'work_dir': str(tmp_path / 'run'),
            'train_cfg': dict(max_epochs=1, val_interval=1),
            'train_dataloader.num_workers': 0,
            'val_dataloader.num_workers': 0,
            'experiment_name': f'{name}_{tmp_path.name}',
            'log_level': 'ERROR',
        }
    )
    if 'kitti' in name:
        config.train_dataloader.dataset.times = 1
    runner = build_runner(config)
    runner.train()
    values = {key: value for key, value in runner.message_hub.log_scalars.items() if key.startswith('val/lidar/')}
    kinds = {f'val/lidar/{kind}_{part}' for kind in ('3d', 'bev') for part in ('mAP', 'Car', 'Cyclist', 'Pedestrian')}
    assert kinds <= set(values) and all(0 <= value.current() <= 1 for value in values.values())
    assert list((tmp_path / 'run').glob('epoch_1.pth'))
