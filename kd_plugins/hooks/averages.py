"""Find the average of the weights that MMEngine's ``EMAHook`` keeps in a run."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import ConfigError
from ..teachers.shared_average import ALONE, SharedAverage
from .loop_epochs import is_iteration_loop


def run_average(runner: Any, key: str, length: int | None) -> SharedAverage:
    """Return the average of the run's ``EMAHook``, which the hook has made in ``before_run``.

    Args:
        runner: MMEngine's runner.
        key: Config key of the teacher, for error sentences.
        length: Iterations of an epoch, ``None`` where the loader has no length.

    Raises:
        ConfigError: If the run does not have exactly one ``EMAHook``.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    if len(hooks) != 1:
        example = "custom_hooks=[dict(type='EMAHook', momentum=2e-4, update_buffers=True)]"
        raise ConfigError(
            f"{key}.share is 'EMAHook', and the run has {len(hooks) or 'no'} EMAHook{'s' if hooks else ''}; nearest: "
            f'{example}'
        )
    hook = hooks[0]
    averaged = getattr(hook, 'ema_model', None)
    if averaged is None:
        raise ConfigError(f"{key}.share is 'EMAHook', and {type(hook).__name__} has made no average; {ALONE}")
    if not averaged.update_buffers and any(isinstance(module, _BatchNorm) for module in averaged.module.modules()):
        runner.logger.warning(
            f'{key}: EMAHook averages the weights and copies the statistics of BatchNorm from the student; '
            'update_buffers=True averages both.'
        )
    return SharedAverage(averaged, _begin(hook, runner, length or 1), length or 1)


def _begin(hook: EMAHook, runner: Any, length: int) -> int:
    """Return the iteration at which the average begins; ``begin_epoch`` of EMAHook counts from 1."""
    if not hook.enabled_by_epoch:
        return int(hook.begin_iter)
    # A loop of iterations is one epoch for MMEngine.
    return 0 if is_iteration_loop(runner) else (int(hook.begin_epoch) - 1) * length
