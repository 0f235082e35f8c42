"""Files that a training writes and clears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_plugins.checkpoints import ATOMIC_BACKEND, AtomicBackend
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.checkpoint_files import AtomicCheckpointHook, local_folders, remove_partial
from tests.hooks.tiny_runs import EMA, GAP, make_runner


def leave_partial(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write a file and stop like a killed process, which cannot remove its temporary file."""
    with monkeypatch.context() as patch:
        patch.setattr('os.replace', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
        patch.setattr(Path, 'unlink', lambda *args, **kwargs: None)
        with pytest.raises(KeyboardInterrupt):
            AtomicBackend().put(b'half', folder / 'epoch_1.pth')
    return [path.name for path in folder.glob('.*')]


def test_only_temporary_files_of_the_backend_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(leave_partial(tmp_path, monkeypatch)) == 1
    kept = ['.lock', '.hidden.pth', 'epoch_1.pth', '.cache.d', '.gitignore']
    for name in kept:
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    remove_partial(tmp_path / 'missing')


@pytest.mark.parametrize('hook', [DistillHook({'gap': GAP}, EMA), AtomicCheckpointHook()], ids=['distilled', 'plain'])
def test_a_training_removes_what_a_killed_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: Any) -> None:
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    leave_partial(work_dir, monkeypatch)
    runner = make_runner(work_dir, [hook], epochs=1)
    runner.train()
    assert not list(work_dir.glob('.*')) and (work_dir / 'epoch_1.pth').is_file()
    assert [hook.backend_args for hook, _ in local_folders(runner)] == [{'backend': ATOMIC_BACKEND}]


@pytest.mark.parametrize(
    ('settings', 'below'),
    [({}, 'run'), ({'out_dir': 'OUT'}, 'out/run'), ({'out_dir': 'RUN'}, 'run'), ({'out_dir': 's3://bucket'}, None)],
    ids=['work_dir', 'out_dir', 'same', 'remote'],
)
def test_folders(tmp_path: Path, settings: dict[str, str], below: str | None) -> None:
    places = {'OUT': str(tmp_path / 'out'), 'RUN': str(tmp_path / 'run')}
    settings = {key: places.get(value, value) for key, value in settings.items()}
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, **settings))
    runner = make_runner(tmp_path / 'run', [], default_hooks=hooks)
    assert [folder for _, folder in local_folders(runner)] == ([] if below is None else [tmp_path / below])
