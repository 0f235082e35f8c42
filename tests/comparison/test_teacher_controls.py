"""Random and shuffled teachers: for every kind of shipped entry a config that trains, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.comparison.made import Made
from kd_plugins.comparison.teacher_controls import RANDOM_SEED, is_random, random_teacher, shuffled_teacher
from kd_plugins.errors import ConfigError
from kd_plugins.teachers.frozen import FrozenTeacher
from tests.comparison.control_configs import detector, teacher

FOCAL = {'type': 'FocalLoss'}
CONTROLS = {'random-teacher': random_teacher, 'shuffled-teacher': shuffled_teacher}


def made(control: str, distill: dict[str, Any] | None, **config: Any) -> Made:
    distilled = detector(FOCAL, distill)
    distilled.merge_from_dict(config)
    before = distilled.to_dict()
    result = CONTROLS[control](detector(FOCAL), distilled, Path())
    assert distilled.to_dict() == before, 'the given config stays'
    return result


def distill_of(control: str, distill: dict[str, Any] | None, **config: Any) -> Any:
    return made(control, distill, **config).config.default_hooks.distill


def test_a_random_teacher_has_no_weights_of_a_file() -> None:
    distill = {'teacher': teacher(cfg_options={'model.backbone.depth': 34}), 'distillers': {'a': {}}}
    hook = distill_of('random-teacher', distill)
    assert hook.distillers == {'a': {}}
    assert hook.teacher == {
        'type': 'kd_plugins.FrozenTeacher',
        'config': {'model': {'type': 'B', 'backbone': {'init_cfg': None, 'depth': 34}}, 'default_scope': 'mmdet'},
        'checkpoint': None,
        'seed': RANDOM_SEED,
    }
    FrozenTeacher(**{key: value for key, value in hook.teacher.items() if key != 'type'})


def test_every_teacher_gets_other_random_weights() -> None:
    average = {'type': 'kd_plugins.EMATeacher', 'momentum': 0.1, 'begin': 3, 'by_epoch': True, 'mode': 'extract_feat'}
    known = {'type': 'kd_plugins.BackboneTeacher', 'model': {'type': 'M'}, 'checkpoint': 'm.pth', 'prefix': 'a.'}
    late = {'type': 'kd_plugins.SnapshotTeacher', 'epochs': 2}
    teachers = {'big': teacher(), 'average': average, 'known': known, 'late': late, 'off': None}
    after = distill_of('random-teacher', {'teachers': teachers, 'distillers': {}}).teachers
    assert [after[name].seed for name in teachers if name != 'off'] == [RANDOM_SEED + place for place in range(4)]
    assert all(is_random(one) for one in after.values() if one)
    student = {'model': detector(FOCAL).model, 'default_scope': None}
    assert after.average == {
        'type': 'kd_plugins.FrozenTeacher',
        'config': student,
        'checkpoint': None,
        'begin': 3,
        'by_epoch': True,
        'mode': 'extract_feat',
        'seed': RANDOM_SEED + 1,
    }
    assert after.known == {'type': 'kd_plugins.BackboneTeacher', 'model': {'type': 'M'}, 'seed': RANDOM_SEED + 2}
    assert (after.late.begin, after.late.by_epoch) == (2, True)


def test_classes_of_the_checkpoint_are_written_down(tmp_path: Path) -> None:
    path = tmp_path / 'big.pth'
    torch.save({'state_dict': {}, 'meta': {'dataset_meta': {'classes': ['a', 'b']}}}, path)
    distill = {
        'teacher': teacher(checkpoint=str(path)),
        'distillers': {'one': {'type': 'kd_plugins.LogitDistiller', 'teacher_classes': 'checkpoint'}},
    }
    assert distill_of('random-teacher', distill).distillers.one.teacher_classes == ['a', 'b']
    distill['distillers']['two'] = dict(distill['distillers']['one'], teacher_classes='checkpoint', source='student')
    made = distill_of('random-teacher', distill).distillers
    assert made.one.teacher_classes == ['a', 'b'] and made.two.teacher_classes == 'checkpoint', 'nothing to read'


def test_the_start_from_the_teacher_is_left_out_with_a_remark() -> None:
    distill = {
        'teacher': teacher(),
        'init_from_teacher': ['neck'],
        'distillers': {'deep': {'source': 'student'}, 'off': None},
    }
    result = made('random-teacher', distill)
    assert 'init_from_teacher' not in result.config.default_hooks.distill
    assert result.remarks == [
        "distillers.deep has source='student', so it stays as it is",
        'its student starts with its own weights, as init_from_teacher would copy random ones',
    ]


def test_shuffled_teachers_are_all_shuffled() -> None:
    distill = {'teachers': {'big': teacher(), 'late': {'type': 'kd_plugins.SnapshotTeacher'}}, 'distillers': {}}
    result = made('shuffled-teacher', distill)
    teachers = result.config.default_hooks.distill.teachers
    assert teachers.big == {**teacher(), 'shuffled': True} and teachers.late.shuffled
    assert result.text.endswith('with the outputs of its teachers for another image of the batch')


@pytest.mark.parametrize(
    ('control', 'distill', 'config', 'sentence'),
    [
        ('random-teacher', None, {}, 'it has no teacher: the student teaches itself'),
        ('shuffled-teacher', {'teacher': None}, {}, 'it has no teacher: the student teaches itself'),
        ('random-teacher', {'teacher': teacher(checkpoint=None)}, {}, 'are random already'),
        ('random-teacher', {'teacher': {'type': 'Other'}}, {}, 'teacher.type is Other, .* valid: FrozenTeacher'),
        ('shuffled-teacher', {'teacher': teacher(shuffled=True)}, {}, 'is shuffled already'),
        ('shuffled-teacher', {'teacher': teacher()}, {'train_dataloader.batch_size': 1}, 'train_.*batch_size is 1'),
        (
            'shuffled-teacher',
            {'teacher': teacher(), 'unlabelled': {'dataloader': {'batch_size': 1}}},
            {},
            r'unlabelled\.dataloader\.batch_size is 1',
        ),
    ],
)
def test_what_has_no_control(
    control: str, distill: dict[str, Any] | None, config: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        made(control, distill, **config)
