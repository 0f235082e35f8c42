"""A LiDAR detector with a teacher: equal voxels for both, unchanged input of the student, a plain checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet3d')

from mmengine.config import Config
from mmengine.registry import DefaultScope

from kd_plugins.config.data_checks import check_data
from kd_plugins.config.loading import load_config
from kd_plugins.datasets.lidar_scenes import make_split
from kd_plugins.hooks.observer import StepObserver
from kd_plugins.runner.launch import build_runner
from kd_plugins.runner.steps import batches, distill_hook, drive, temporary_runner, train_step
from kd_plugins.testing import use_generated_data

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / 'local_graph'
KITTI = Path(os.environ.get('KITTI_ROOT', ROOT.parent / 'shared' / 'data' / 'kitti'))


def small_config(name: str, **changes: Any) -> Config:
    """Return a shipped config with small generated clouds and a random teacher instead of a trained one."""
    config = load_config(f'{CONFIGS}/{name}.py')
    use_generated_data(config)
    config.train_dataloader.dataset.num_points = 900
    if 'distill' in config.default_hooks:
        changes = {'default_hooks.distill.teacher.checkpoint': None, **changes}
    config.merge_from_dict(changes)
    return config


def run(config: Config, steps: int = 1) -> dict[str, Any]:
    """Run some steps; return their losses, the last report and the keys of the student."""
    result: dict[str, Any] = {'losses': []}
    with temporary_runner(config, generated=False) as (runner, _):
        hook = distill_hook(runner)
        if hook is not None:
            observer = StepObserver()
            hook.subscribe(observer)

        def body() -> None:
            torch.manual_seed(0)
            for index, batch in enumerate(batches(runner, steps)):
                outputs = train_step(runner, index, batch)
                result['losses'].append({name: float(value) for name, value in outputs.items()})
            if hook is not None:
                result['report'] = observer.report

        drive(runner, body)
        result['keys'] = list(runner.model.state_dict())
    return result


def test_teacher_and_student_encode_the_same_voxels() -> None:
    result = run(small_config('pointpillars_x4_scenes_local'), steps=3)
    report = result['report']
    student, teacher = report.student_shapes['voxel_encoder'], report.teacher_shapes['teacher']['voxel_encoder']
    assert [shape[0] for shape in student] == [shape[0] for shape in teacher] and student[0][0] > 900
    assert (student[0][1], teacher[0][1]) == (16, 32)
    values = [losses['distill.local.loss_local_graph'] for losses in result['losses']]
    assert all(0 < value < 100 for value in values)
    assert result['keys'] == run(small_config('pointpillars_x4_scenes'))['keys']


def test_the_smallest_student_learns_all_maps_of_the_backbone() -> None:
    plain = run(small_config('pointpillars_x16_scenes'))
    local, released, features = (
        run(small_config(f'pointpillars_x16_scenes_{arm}')) for arm in ('local', 'released', 'feat')
    )
    for result in (local, features):
        report = result['report']
        student, teacher = report.student_shapes['backbone'], report.teacher_shapes['teacher']['backbone']
        assert [shape[1] for shape in student] == [8, 16, 32] and [shape[1] for shape in teacher] == [32, 64, 128]
        assert [shape[2:] for shape in student] == [shape[2:] for shape in teacher]
        assert result['losses'][0]['loss_cls'] == plain['losses'][0]['loss_cls']
        assert result['keys'] == plain['keys']
    key = 'distill.graph.loss_local_graph'
    # The log of these arms shows raw values: the weight is 1.
    assert local['losses'][0][key] == pytest.approx(float(local['report'].terms[0].raw))
    # The sum over three levels, times the scenes of a batch.
    levels, scenes = len(local['report'].student_shapes['backbone']), local['report'].student_shapes['backbone'][0][0]
    assert released['losses'][0][key] == pytest.approx(levels * scenes * local['losses'][0][key], rel=1e-3)


def test_the_control_has_an_untrained_teacher() -> None:
    teacher = load_config(f'{CONFIGS}/pointpillars_x16_scenes_random.py').default_hooks.distill.teacher
    taught = load_config(f'{CONFIGS}/pointpillars_x16_scenes_local.py').default_hooks.distill.teacher
    assert teacher.pop('checkpoint') is None and taught.pop('checkpoint')
    assert teacher == taught


@pytest.mark.parametrize(
    ('student', 'teacher', 'ratio'),
    [
        ('pointpillars_x16_scenes', 'kd_plugins::local_graph/pointpillars_scenes_24e.py', 16),
        ('pointpillars_x4_8xb6-160e_kitti-3d-3class_local', '', 4),
        ('pointpillars_x16_8xb6-160e_kitti-3d-3class_local', '', 16),
        ('second_x4_8xb6-80e_kitti-3d-3class_local', '', 4),
        ('second_x16_8xb6-80e_kitti-3d-3class_local', '', 16),
        ('point-rcnn_x8_8xb2_kitti-3d-3class_local', '', 8),
        ('point-rcnn_x16_8xb2_kitti-3d-3class_local', '', 16),
    ],
)
def test_students_are_as_small_as_their_names_say(student: str, teacher: str, ratio: int) -> None:
    from mmdet3d.registry import MODELS

    config = load_config(f'{CONFIGS}/{student}.py')
    name = teacher or config.default_hooks.distill.teacher.config
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        models = [MODELS.build(part.model) for part in (config, load_config(name))]
    ours, theirs = (sum(value.numel() for value in model.parameters()) for model in models)
    assert 0.93 * ratio < theirs / ours < 1.05 * ratio


@pytest.mark.parametrize('legacy', [False, True])
def test_a_teacher_does_not_change_the_input_of_the_student(legacy: bool) -> None:
    change = {'model.voxel_encoder.legacy': legacy}
    plain = run(small_config('pointpillars_x4_scenes', **change))
    config = small_config('pointpillars_x4_scenes_local', **change)
    config.default_hooks.distill.teacher = dict(type='kd_plugins.EMATeacher', momentum=0.1, mode='extract_feat')
    result = run(config)
    for name in ('loss_cls', 'loss_bbox', 'loss_dir'):
        assert result['losses'][0][name] == plain['losses'][0][name], name


@pytest.mark.parametrize('name', ['pointpillars_x4_scenes', 'pointpillars_kitti-mini'])
def test_training_and_evaluation_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if 'kitti' in name:
        if not KITTI.is_dir():
            pytest.skip('KITTI is not in ../shared/data, and KITTI_ROOT is not set')
        monkeypatch.setenv('KITTI_ROOT', str(KITTI))
    else:
        monkeypatch.setenv('LIDAR_SCENES_ROOT', str(tmp_path / 'scenes'))
        for split in ('train', 'val'):
            make_split(tmp_path / 'scenes', split, 4)
    config = load_config(f'{CONFIGS}/{name}.py')
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
    names = {f'val/lidar/{view}_{part}' for view in ('3d', 'bev') for part in ('mAP', 'Car', 'Cyclist', 'Pedestrian')}
    assert names <= set(values) and all(0 <= value.current() <= 1 for value in values.values())
    assert list((tmp_path / 'run').glob('epoch_1.pth'))
