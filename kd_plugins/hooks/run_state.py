"""State that a run takes over: from a resumed checkpoint, or from its own start in the same process."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError

CHECKPOINT_KEY = 'distill'
VERSION = 2
"""Version of the state under ``checkpoint['distill']``."""


class RunState:
    """State of teacher and distillers, from loading a checkpoint until the adapters exist.

    MMEngine calls hooks in the same way for ``load_from`` and for a resumed run. Only the iteration at which training
    begins tells them apart.

    Attributes:
        resumed: State to restore, or ``None`` where teacher and adapters start from the student.
        loaded: Whether a checkpoint has been loaded.
        begins: Whether distillation begins now, and not in an earlier part of the run.
    """

    def __init__(self) -> None:
        self.resumed: dict[str, Any] | None = None
        self.loaded = False
        self.begins = True
        self._candidate: dict[str, Any] | None = None
        self._weights_only = False

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of a checkpoint that has been read.

        Args:
            checkpoint: The checkpoint.
        """
        self.loaded = True
        self._candidate = checkpoint.get(CHECKPOINT_KEY)
        self._weights_only = 'optimizer' not in checkpoint

    def keep(self, state: dict[str, Any]) -> None:
        """Keep the state of an interrupted run that goes on in the same process.

        A checkpoint that has been loaded since then comes first.

        Args:
            state: The state of teacher and distillers.
        """
        if self._candidate is None:
            self._weights_only = False
            self._candidate = {'version': VERSION, **state}

    def begin(self, runner: Any) -> None:
        """Decide what the run takes over, when its first iteration is known.

        Args:
            runner: The runner, in ``before_train``.

        Raises:
            ConfigError: If the state of a resumed checkpoint has another version.
        """
        state, self._candidate = self._candidate, None
        resumes = runner.iter > 0
        self.resumed = state if resumes else None
        self.begins = not resumes or (state is None and not self._weights_only)
        if not resumes:
            return
        if state is None and self._weights_only:
            runner.logger.warning(
                'The resumed checkpoint holds weights only: the average of the teacher, adapters and optimizers start '
                'from these weights. Resume from a checkpoint with its optimizer to continue exactly.'
            )
        elif state is None:
            runner.logger.info('The checkpoint is from a run without distillation, which begins here.')
        elif state.get('version') != VERSION:
            path = getattr(runner, '_load_from', None) or 'the checkpoint'
            raise ConfigError(
                f"resume: the state of distillation in '{path}' has version {state.get('version', 1)}, and this "
                f'package reads version {VERSION}; start a new run with load_from'
            )
