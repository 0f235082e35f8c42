"""Parts of the student that do not learn at the start of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..errors import ConfigError
from ..taps import module_at
from ..utils.build import check_settings, missing_arguments
from ..utils.checks import check_module_paths, check_number
from .optimizer import wrappers_of

KEY = 'default_hooks.distill.freeze'


class Freeze:
    """Parts whose parameters keep their values until a share of the run is done.

    The gradients of the parts are dropped before each step of the optimizer, so that neither weight decay nor momentum
    moves them. Losses, gradients of other parts and DistributedDataParallel are those of a run that does not freeze
    anything. Running statistics of normalisation layers move. Source: LGD (arXiv 2109.11496) spares a pretrained
    backbone the gradients of a new teacher.

    Args:
        parts: Dotted paths of modules of the student, for example ``['backbone']``.
        until: Share of the run, in (0, 1).

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(self, parts: Sequence[str], until: float) -> None:
        self.parts = check_module_paths(f'{KEY}.parts', parts, ['backbone'])
        self.until = check_number(f'{KEY}.until', until, positive=True, example=0.1)
        if self.until >= 1.0:
            raise ConfigError(f'{KEY}.until is {until}; it is the share of a run and below 1, such as 0.1')
        self.progress = 0.0
        """Share of the run that is done."""
        self._params: list[nn.Parameter] = []
        self._handles: list[Any] = []

    @classmethod
    def of(cls, settings: Any) -> Freeze | None:
        """Return what ``freeze`` in the config describes, None where it is None.

        Raises:
            ConfigError: If it is no dict of arguments of this class.
        """
        if settings is None:
            return None
        example = "dict(parts=['backbone'], until=0.1)"
        check_settings(cls, settings, KEY, example)
        missing = missing_arguments(cls, settings)
        if missing:
            raise ConfigError(f"{KEY} needs '{missing[0]}'; give for example {example}")
        return cls(**settings)

    def attach(self, runner: Any, student: nn.Module) -> None:
        """Follow the optimizers of a run.

        Args:
            runner: MMEngine's runner, after it has built its optimizer.
            student: The student.

        Raises:
            ConfigError: If a part names no module of the student, or holds no parameter that is trained.
        """
        self.release()
        for part in self.parts:
            params = [param for param in module_at(student, part, f'{KEY}.parts').parameters() if param.requires_grad]
            if not params:
                raise ConfigError(f"{KEY}.parts: '{part}' has no parameter that is trained; leave it out")
            self._params += params
        self._handles = [
            wrapper.optimizer.register_step_pre_hook(self._drop) for wrapper in wrappers_of(runner.optim_wrapper)
        ]

    def _drop(self, *_: Any) -> None:
        if self.progress < self.until:
            for param in self._params:
                param.grad = None

    def release(self) -> None:
        """Stop following the optimizers."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._params = [], []
