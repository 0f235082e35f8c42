"""Random and shuffled teachers of the shipped distill entries: every kind takes its first steps."""

from __future__ import annotations

import copy
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from kd_plugins.comparison.teacher_controls import is_random, random_teacher, shuffled_teacher
from kd_plugins.ops.batch_order import reordered
from kd_plugins.taps import flatten
from kd_plugins.teachers.collection import teacher_configs

from .recipes import NOT_STEPPED, WORLDS
from .shipped import distilling, shipped_config
from .steps import entry_of, take_first_step
from .worlds import world, world_of

CONTROLS = {'random-teacher': random_teacher, 'shuffled-teacher': shuffled_teacher}


def world_name(name: str) -> str:
    """Return the name of the world of a shipped config."""
    return next(world for pattern, world in WORLDS.items() if fnmatch(name, pattern))


def kinds(place: str) -> list[str]:
    """Return one shipped config of a world for each combination of kinds of teachers and kinds of distillers.

    Those without a teacher are left out, as all are refused alike.
    """
    found: dict[Any, str] = {}
    for name in distilling():
        if world_name(name) != place:
            continue
        entry = shipped_config(name).default_hooks.distill
        if not teacher_configs(entry):
            continue
        parts = [*teacher_configs(entry).values(), *(one for one in entry.distillers.values() if one)]
        found.setdefault((*sorted({str(part['type']) for part in parts}), bool(entry.get('unlabelled'))), name)
    return list(found.values())


# By network, because the tests are collected in every process, and the kinds are known when all configs are read.
@pytest.mark.slow
@pytest.mark.parametrize('control', CONTROLS)
@pytest.mark.parametrize('place', sorted(set(map(world_name, distilling()))))
def test_every_kind_of_shipped_entry_trains_or_is_refused(place: str, control: str, tmp_path: Path) -> None:
    for name in kinds(place):
        print(name)
        train(name, control, tmp_path / name)


def train(name: str, control: str, folder: Path) -> None:
    """Take the first steps of a shipped config with a control in place of its teachers."""
    place, entry = world_of(name), entry_of(name)
    config = Config({'model': copy.deepcopy(place.config.model), 'default_scope': place.scope})
    config.train_dataloader = {'batch_size': 2}
    config.default_hooks = {'distill': entry}
    if control == 'random-teacher' and all(is_random(one) for one in teacher_configs(entry).values()):
        return  # a shipped control
    with DefaultScope.overwrite_default_scope(place.scope):
        result = CONTROLS[control](Config(), config, folder)
    after = result.config.default_hooks.distill.to_dict()
    assert all(
        is_random(one) if control == 'random-teacher' else one['shuffled'] for one in teacher_configs(after).values()
    )
    steps = not any(fnmatch(name, pattern) for pattern in NOT_STEPPED)
    take_first_step(after, place, bool(shipped_config(name).get('load_from')), steps)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gfl', 'rtmdet', 'unet', 'swin', 'simcc', 'dynunet', 'pillars'])
def test_a_network_sees_the_batch_in_another_order(name: str) -> None:
    """What a real network gives for the reordered inputs is what it gave for the other image, point clouds included."""
    model, data = copy.deepcopy(world(name).pristine).eval(), copy.deepcopy(world(name).data)
    moved = reordered(copy.deepcopy(data['inputs']), [1, 0])
    samples = reordered(data['data_samples'], [1, 0])
    with torch.no_grad(), DefaultScope.overwrite_default_scope(world(name).scope):
        usual = model(**copy.deepcopy(data), mode='tensor')
        other = model(inputs=moved, data_samples=samples, mode='tensor')
    pairs = list(zip(flatten(usual), flatten(other)))
    assert pairs and all(len(one) == 2 for one, _ in pairs)
    for one, two in pairs:
        torch.testing.assert_close(two, one.flip(0), rtol=1e-4, atol=1e-5)
    assert any(not torch.allclose(one[0], one[1]) for one, _ in pairs)
