"""Files of the CheckpointHook: written atomically, and cleared of what a killed process left."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook

from ..checkpoints import ATOMIC_BACKEND

PARTIAL = re.compile(r'\..+\.\w+\.[a-z0-9_]{8}')
"""Names of the temporary files of the atomic backend."""


def local_folders(runner: Any) -> list[tuple[CheckpointHook, Path]]:
    """Return every CheckpointHook that writes to the local disk, and its folder."""
    folders = []
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            local = hook.file_client_args is None and (hook.backend_args or {}).get('backend') in (None, ATOMIC_BACKEND)
            if local and '://' not in str(hook.out_dir or runner.work_dir):
                work_dir = Path(runner.work_dir)
                # In its before_train, MMEngine's hook puts the whole path into out_dir.
                whole = hook.out_dir in (None, runner.work_dir)
                folders.append((hook, work_dir if whole else Path(hook.out_dir) / work_dir.name))
    return folders


def make_atomic(runner: Any) -> None:
    """Let every CheckpointHook write its local files atomically; call this before it begins."""
    for hook, _ in local_folders(runner):
        if hook.backend_args is None:
            hook.backend_args = {'backend': ATOMIC_BACKEND}


def remove_partial(folder: Path) -> None:
    """Remove the temporary files that a process left in a folder when it was killed while it wrote.

    Call this where no other process writes into the folder.
    """
    for path in folder.glob('.*') if folder.is_dir() else ():
        if PARTIAL.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def clear_partial(runner: Any) -> None:
    """Remove temporary files of a killed process from the folders of a training that begins."""
    if is_main_process():
        for _, folder in local_folders(runner):
            remove_partial(folder)


class AtomicCheckpointHook(Hook):
    """Write checkpoints atomically in a run without DistillHook, and remove temporary files of a killed process."""

    # Before the CheckpointHook opens its folder.
    priority = 'NORMAL'

    def before_run(self, runner: Any) -> None:
        """Make local checkpoint files atomic."""
        make_atomic(runner)

    def before_train(self, runner: Any) -> None:
        """Remove temporary files of a killed process."""
        clear_partial(runner)
