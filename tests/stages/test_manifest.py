"""What a chain has made, and what each of its stages still needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.runner.processes import config_hash
from kd_plugins.stages.manifest import (
    MANIFEST,
    difference,
    finish,
    first_entry,
    read_manifest,
    set_aside,
    state_of,
    write_config,
    write_manifest,
)
from kd_plugins.stages.spec import Plan, Stage

TEACHER = 'default_hooks.distill.teacher.checkpoint'


def plan(name: str = 'first', lr: float = 0.1, **stage: Any) -> Plan:
    """A stage that trains for two epochs."""
    config = Config(
        dict(
            train_cfg=dict(max_epochs=2),
            optim_wrapper=dict(optimizer=dict(lr=lr)),
            default_hooks=dict(checkpoint=dict(), distill=dict(teacher=dict(checkpoint=None))),
            randomness=dict(seed=5),
        )
    )
    return Plan(Stage(name, config='first.py', **stage), config, {}, config_hash(config))


def ready(path: Path) -> Plan:
    """A stage that is a checkpoint already."""
    return Plan(Stage('teacher', checkpoint=str(path)), None, {}, 'hash of the file')


def trained(work_dir: Path, name: str = 'first', epochs: int = 2, ema: bool = False) -> None:
    """Leave what a training leaves."""
    (work_dir / name).mkdir(parents=True, exist_ok=True)
    for epoch in range(1, epochs + 1):
        content = {
            'state_dict': {'weight': torch.full((2,), float(epoch))},
            'meta': {'epoch': epoch, 'iter': 10 * epoch, 'seed': 5, 'experiment_name': 'x'},
            'message_hub': {'runtime_info': {}},
            'optimizer': {},
        }
        if ema:
            content['ema_state_dict'] = {'module.weight': torch.full((2,), -float(epoch)), 'steps': torch.tensor(1)}
        torch.save(content, work_dir / name / f'epoch_{epoch}.pth')


def finished(work_dir: Path, stage: Plan) -> dict[str, Any]:
    trained(work_dir, stage.stage.name)
    entry = first_entry(stage, {})
    finish(stage, entry, work_dir)
    return entry


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}
    write_manifest(tmp_path, {'first': {'status': 'running', 'loss': float('nan')}}, file='chain.py')
    assert read_manifest(tmp_path) == {'first': {'status': 'running', 'loss': None}}
    whole = json.loads((tmp_path / MANIFEST).read_text())
    assert whole['file'] == 'chain.py' and 'torch' in whole['versions'] and whole['kd_plugins']


@pytest.mark.parametrize('text', ['{"stages": {', '[]', '{}'])
def test_a_damaged_manifest_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ConfigError, match=rf"--work-dir: '.*{MANIFEST}' is damaged"):
        read_manifest(tmp_path)


def test_the_config_names_the_files_that_the_stage_takes(tmp_path: Path) -> None:
    stage = plan('second', takes={TEACHER: 'first'})
    written = Config.fromfile(write_config(stage, tmp_path))
    assert written.default_hooks.distill.teacher.checkpoint == str((tmp_path / 'first.pth').resolve())
    assert stage.config.default_hooks.distill.teacher.checkpoint is None


def test_states_from_nothing_to_the_finished_file(tmp_path: Path) -> None:
    stage, entries = plan(), {}
    assert state_of(stage, entries, tmp_path) == 'new'
    entries['first'] = first_entry(stage, entries)
    assert state_of(stage, entries, tmp_path) == 'new', 'it stopped before its first checkpoint'
    trained(tmp_path, epochs=1)
    assert state_of(stage, entries, tmp_path) == 'resume'
    trained(tmp_path)
    entries['first']['status'] = 'trained'
    assert state_of(stage, entries, tmp_path) == 'pick'
    finish(stage, entries['first'], tmp_path)
    assert state_of(stage, entries, tmp_path) == 'finished'


def test_a_file_that_was_changed_or_removed_is_made_again(tmp_path: Path) -> None:
    stage = plan()
    entries = {'first': finished(tmp_path, stage)}
    (tmp_path / 'first.pth').write_bytes(b'other')
    assert state_of(stage, entries, tmp_path) == 'pick'
    (tmp_path / 'first.pth').unlink()
    assert state_of(stage, entries, tmp_path) == 'pick'
    finish(stage, entries['first'], tmp_path)
    assert state_of(plan(ema=True), entries, tmp_path) == 'pick', 'another rule'


def test_a_stage_that_has_changed_is_refused_with_the_setting(tmp_path: Path) -> None:
    entries = {'first': finished(tmp_path, plan())}
    write_config(plan(), tmp_path)
    with pytest.raises(
        ConfigError, match=r'first. is finished, and its config has changed.*optimizer.lr is 0.2, was 0.1'
    ):
        state_of(plan(lr=0.2), entries, tmp_path)
    with pytest.raises(ConfigError, match='it was trained then; --redo teacher'):
        state_of(ready(tmp_path / 'a.pth'), {'teacher': entries['first']}, tmp_path)


def test_another_file_of_an_earlier_stage_is_refused(tmp_path: Path) -> None:
    entries = {'first': finished(tmp_path, plan())}
    second = plan('second', takes={TEACHER: 'first'})
    trained(tmp_path, 'second')
    entries['second'] = {**first_entry(second, entries), 'status': 'trained'}
    assert state_of(second, entries, tmp_path) == 'pick'
    entries['first']['sha256'] = 'another'
    with pytest.raises(ConfigError, match=f"'first', which it takes as {TEACHER}, is another file now"):
        state_of(second, entries, tmp_path)


def test_checkpoints_of_nobody_are_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(ConfigError, match=f'holds checkpoints that are not in {MANIFEST}; --redo first'):
        state_of(plan(), {}, tmp_path)


def test_the_entry_of_a_finished_stage(tmp_path: Path) -> None:
    entry = finished(tmp_path, plan())
    assert (entry['status'], entry['checkpoint'], entry['file']) == ('finished', 'first/epoch_2.pth', 'first.pth')
    assert (entry['seed'], entry['epoch'], entry['epochs'], entry['weights']) == (5, 2, 2, 'raw')
    file = torch.load(tmp_path / 'first.pth', weights_only=True)
    assert file['state_dict']['weight'].tolist() == [2.0, 2.0] and 'optimizer' not in file
    assert 'max_epochs=2' in file['meta']['cfg']


@pytest.mark.parametrize(
    ('ema', 'kind', 'value'), [(True, 'averaged', 2.0), (None, 'averaged', 2.0), (False, 'raw', -2.0)]
)
def test_averaged_or_raw_weights(tmp_path: Path, ema: bool | None, kind: str, value: float) -> None:
    """With EMAHook, ``state_dict`` holds the averaged weights."""
    trained(tmp_path, ema=True)
    entry = first_entry(plan(ema=ema), {})
    finish(plan(ema=ema), entry, tmp_path)
    assert (entry['weights'], entry['metrics_of']) == (kind, 'averaged')
    assert torch.load(tmp_path / 'first.pth', weights_only=True)['state_dict']['weight'].tolist() == [value, value]


def test_a_stage_that_is_a_checkpoint(tmp_path: Path) -> None:
    torch.save({'state_dict': {'weight': torch.ones(2)}, 'meta': {'seed': 1}}, tmp_path / 'given.pth')
    stage = ready(tmp_path / 'given.pth')
    entry = first_entry(stage, {})
    finish(stage, entry, tmp_path)
    assert (entry['status'], entry['file'], entry['pick']) == ('finished', 'teacher.pth', None)
    assert state_of(stage, {'teacher': entry}, tmp_path) == 'finished'
    torch.save({'state_dict': {}}, tmp_path / 'empty.pth')
    with pytest.raises(CheckpointError, match="stages.teacher: '.*empty.pth' holds no weights"):
        finish(ready(tmp_path / 'empty.pth'), {}, tmp_path)


def test_what_is_set_aside_can_be_found_again(tmp_path: Path) -> None:
    for _ in range(2):
        entries = {'first': finished(tmp_path, plan())}
        write_config(plan(), tmp_path)
        set_aside(tmp_path, entries, ['first', 'never begun'])
        assert entries == {} and not (tmp_path / 'first').exists() and not (tmp_path / 'first.pth').exists()
    for index in (1, 2):
        folder = tmp_path / 'replaced' / f'first-{index}'
        assert {path.name for path in folder.iterdir()} == {'first', 'first.pth', 'first.py'}


@pytest.mark.parametrize(
    ('old', 'new', 'ignored', 'words'),
    [
        ({'a': 1}, {'a': 1}, (), ''),
        ({'a': {'b': 1}}, {'a': {'b': 2}}, (), 'a.b is 2, was 1'),
        ({'a': {'b': 1}}, {'a': {'b': 2}}, ('a.b',), ''),
        ({'a': 1, 'b': 2}, {'b': 2}, (), 'a is not set, was 1'),
        ({'a': [{'b': 1}]}, {'a': [{'b': 1}, {'c': 3}]}, (), 'a.1.c is 3, was not set'),
    ],
)
def test_the_first_difference(old: Any, new: Any, ignored: tuple[str, ...], words: str) -> None:
    assert difference(Config(old), Config(new), ignored) == words
