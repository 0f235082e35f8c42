"""Base class of the teachers whose weights come from a file and never change."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log
from torch import nn

from ..checkpoints import LoadReport
from ..utils.checks import check_flag, check_integer
from .base import BaseTeacher
from .folding import BatchNormFolding


class FixedTeacher(BaseTeacher):
    """A network with fixed weights, which is not in the checkpoints of the run: a resumed run reads its file again.

    Args:
        checkpoint: Path or URL of its weights; ``None`` where no file is read.
        strict: Whether all keys must match.
        seed: Seed of the initial weights.
        fold: Whether the network gets a faster form, see :class:`~kd_plugins.teachers.folding.BatchNormFolding`.
        mode, key: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If a setting does not fit.
    """

    def __init__(
        self, checkpoint: str | None, strict: bool, seed: int, fold: bool, mode: str = 'tensor', key: str = 'teacher'
    ) -> None:
        super().__init__(mode, key)
        self.checkpoint = checkpoint
        self.strict = strict
        self.seed = check_integer(f'{key}.seed', seed, 0, 'valid: an integer, such as 0', 2**32 - 1)
        self.fold = check_flag(f'{key}.fold', fold)
        self.report: LoadReport | None = None
        """Result of loading the weights, ``None`` where no file was compared key by key."""

    def _take(self, model: nn.Module, student: nn.Module) -> None:
        """Keep the network on the student's device, in eval mode and without gradient."""
        device = next((value.device for value in student.parameters()), None)
        self._adopt(model.to(device))
        self.folding = BatchNormFolding(self.model, key=self.key, enabled=self.fold)

    def state_dict(self) -> dict[str, Any]:
        """Return the form of the network (``fold``); the weights are those of ``checkpoint``."""
        return {'folded': self.folding.state() if self.folding is not None else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the form of the network."""
        if self.folding is not None:
            self.folding.load_state(state.get('folded'))

    def _warn(self) -> None:
        """Log the keys that ``strict=False`` has let pass."""
        assert self.report is not None
        not_loaded = [*self.report.missing, *self.report.mismatched]
        count = len(self.report.loaded) + len(not_loaded)
        for names, text in (
            (not_loaded, f'{len(not_loaded)} of {count} keys of the teacher stay at their random start'),
            (self.report.unexpected, f'{len(self.report.unexpected)} keys of the file are not used'),
        ):
            if names:
                first = ', '.join(repr(name) for name in names[:3]) + (', ...' if len(names) > 3 else '')
                message = f"{self.key}.checkpoint: '{self.checkpoint}': {text} ({first})"
                print_log(message, logger='current', level=logging.WARNING)
