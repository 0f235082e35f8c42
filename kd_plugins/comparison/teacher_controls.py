"""Controls of what a teacher knows: random weights, and outputs that belong to another image."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from ..checkpoints import load_checkpoint
from ..config.hook_entries import distill_entry
from ..config.loading import class_name
from ..config.reading import read_changed
from ..errors import ConfigError
from ..teachers.classes import class_names
from ..teachers.collection import resolve_sources, teacher_configs
from ..testing import strip_pretrained
from .made import Made, import_as

RANDOM_SEED = 20000
"""Seed of the first random teacher, far from those of the runs, whose students start from other weights."""
FOLLOWERS = ('EMATeacher', 'SnapshotTeacher', 'FinishedTeacher')
"""Teachers with the structure of the student."""
COMMON = ('mode',)
"""Settings of every network that a random one keeps."""


def frozen_teachers(distilled: Config) -> dict[str, dict[str, Any]]:
    """Return the entries of all frozen teachers with a checkpoint by their config key.

    Raises:
        ConfigError: If there is none.
    """
    teachers = teacher_configs(distill_entry(distilled) or {})
    frozen = {
        key: teacher
        for key, teacher in teachers.items()
        if class_name(teacher) == 'FrozenTeacher' and teacher.get('checkpoint') is not None
    }
    if not frozen:
        found = ', '.join(class_name(teacher) for teacher in teachers.values()) or 'no teacher'
        raise ConfigError(f'it has {found}; valid: a kd_plugins.FrozenTeacher with a checkpoint')
    return frozen


def all_teachers(config: Config) -> dict[str, dict[str, Any]]:
    """Return the entries of the teachers of a distilled config by their config key; they may be changed in place.

    Raises:
        ConfigError: If the student teaches itself.
    """
    teachers = teacher_configs(distill_entry(config) or {})
    if not teachers:
        raise ConfigError(
            'it has no teacher: the student teaches itself, and a deeper layer of it has neither weights nor images of '
            'its own'
        )
    return teachers


def self_taught(config: Config) -> list[str]:
    """Return a remark for each distiller that no teacher teaches, so that a control of teachers leaves it as it is."""
    entry = distill_entry(config) or {}
    distillers = {name: one for name, one in (entry.get('distillers') or {}).items() if one}
    return [
        f"distillers.{name} has source='student', so it stays as it is"
        for name, one in distillers.items()
        if one.get('source') == 'student'
    ]


def random_teacher(baseline: Config, distilled: Config, folder: Path) -> Made:
    """Return the distilled config whose teachers have random initial weights that never change.

    A teacher that follows the student (an average, a snapshot, its finished parts) becomes a random network of the same
    structure, which begins to teach at the same time.

    Raises:
        ConfigError: If it has no teacher, all are random already, or the weights of one cannot be left out.
        CheckpointError: If the names of a teacher's classes are needed and its checkpoint cannot be read.
    """
    config = copy.deepcopy(distilled)
    entry = distill_entry(config) or {}
    teachers = all_teachers(config)
    remarks, seed = self_taught(config), RANDOM_SEED
    if all(is_random(teacher) for teacher in teachers.values()):
        raise ConfigError('the weights of its teacher are random already')
    name_classes(config, teachers)
    for key, teacher in teachers.items():
        kind = class_name(teacher)
        if is_random(teacher):
            continue
        if kind == 'FrozenTeacher':
            read = read_changed(teacher['config'], teacher.get('cfg_options') or {}, key)
            teacher['config'] = untrained(read)
            teacher.pop('cfg_options', None)
            teacher['checkpoint'] = None
            import_as(config, read)
        elif kind == 'BackboneTeacher':
            list(strip_pretrained(teacher['model'], f'{key}.model'))
            for name in ('checkpoint', 'prefix', 'strict'):
                teacher.pop(name, None)
        elif kind in FOLLOWERS:
            settings = {name: teacher[name] for name in COMMON if name in teacher}
            begin = begin_of(teacher)
            teacher.clear()
            teacher.update(type='kd_plugins.FrozenTeacher', config=untrained(config), checkpoint=None)
            teacher.update(**settings, **begin)
        else:
            raise ConfigError(
                f'{key}.type is {kind}, whose weights this control does not know; valid: FrozenTeacher, '
                f'BackboneTeacher, {", ".join(FOLLOWERS)}'
            )
        teacher['seed'] = seed
        seed += 1
    if entry.pop('init_from_teacher', None):
        remarks.append('its student starts with its own weights, as init_from_teacher would copy random ones')
    what = 'its teacher' if len(teachers) == 1 else 'its teachers'
    return Made(config, f'the distilled config with random initial weights in {what} (seed {RANDOM_SEED})', remarks)


def is_random(teacher: Mapping[str, Any]) -> bool:
    """Return whether a teacher has random weights by its config.

    >>> is_random({'type': 'kd_plugins.FrozenTeacher', 'config': 'a.py', 'checkpoint': None})
    True
    >>> is_random({'type': 'kd_plugins.BackboneTeacher', 'model': {'type': 'kd_plugins.TimmBackbone', 'weights': 'x'}})
    False
    """
    if teacher.get('checkpoint') is not None or class_name(teacher) not in ('FrozenTeacher', 'BackboneTeacher'):
        return False
    model = copy.deepcopy(teacher.get('model') or {})
    return class_name(teacher) == 'FrozenTeacher' or not list(strip_pretrained(model))


def untrained(config: Config) -> ConfigDict:
    """Return model and scope of a config without the files of pretrained weights."""
    model = copy.deepcopy(config.model)
    list(strip_pretrained(model))
    return ConfigDict(model=model, default_scope=config.get('default_scope'))


def begin_of(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Return when a teacher that follows the student begins, as settings of a FrozenTeacher.

    >>> begin_of({'type': 'kd_plugins.SnapshotTeacher', 'epochs': 2})
    {'begin': 2, 'by_epoch': True}
    """
    if class_name(teacher) == 'SnapshotTeacher':
        return {'begin': teacher.get('epochs', 1), 'by_epoch': True}
    return {name: teacher[name] for name in ('begin', 'by_epoch') if name in teacher}


def name_classes(config: Config, teachers: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the names of a teacher's classes into the distillers that would read them from its checkpoint."""
    names = {key.rpartition('.')[2]: teacher for key, teacher in teachers.items()}
    for name, one in ((distill_entry(config) or {}).get('distillers') or {}).items():
        if not one or one.get('teacher_classes') != 'checkpoint':
            continue
        key = f'distillers.{name}'
        source = one.get('source', 'auto')
        first = resolve_sources(source if isinstance(source, str) else source[0], (), key, names)[0]
        path = None if first is None else names[first].get('checkpoint')
        if path is None:
            continue
        meta = load_checkpoint(path, key=f'{key}.teacher_classes').get('meta') or {}
        known = class_names(meta.get('dataset_meta'))
        if known:
            one['teacher_classes'] = list(known[0])


def shuffled_teacher(baseline: Config, distilled: Config, folder: Path) -> Made:
    """Return the distilled config whose teachers see the images of each batch in another order.

    Each image is taught with the outputs for another one, so what is left of a gain does not come from what the teacher
    knows about the image.

    Raises:
        ConfigError: If it has no teacher, is shuffled already, or a batch has one image.
    """
    config = copy.deepcopy(distilled)
    teachers = all_teachers(config)
    if all(teacher.get('shuffled') for teacher in teachers.values()):
        raise ConfigError('its teacher is shuffled already')
    unlabelled = (distill_entry(config) or {}).get('unlabelled') or {}
    loaders = {
        'train_dataloader': config.get('train_dataloader'),
        'unlabelled.dataloader': unlabelled.get('dataloader'),
    }
    for name, loader in loaders.items():
        if (loader or {}).get('batch_size') == 1:
            raise ConfigError(
                f'{name}.batch_size is 1, and its teacher has to see another image of the batch; set 2 or more in all '
                'arms'
            )
    for teacher in teachers.values():
        teacher['shuffled'] = True
    what = 'its teacher' if len(teachers) == 1 else 'its teachers'
    text = f'the distilled config with the outputs of {what} for another image of the batch'
    return Made(config, text, self_taught(config))
