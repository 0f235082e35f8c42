"""Check of the data files in the hook, for trainings that other launchers start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process

from ..config.data_checks import check_data, training_loaders
from ..config.hook_entries import distill_entry
from ..data_checks import check_data_files
from ..errors import ConfigError


def is_checked(config: Mapping[str, Any]) -> bool:
    """Return whether the data files of a config are to be checked: ``checks=dict(data=False)`` switches it off.

    >>> is_checked({}), is_checked({'default_hooks': {'distill': {'checks': {'data': False}}}})
    (True, False)
    """
    checks = (distill_entry(config) or {}).get('checks')
    return not isinstance(checks, Mapping) or bool(checks.get('data', True))


def check_run_files(runner: Any) -> None:
    """Check the data files of a run on the main rank; remarks go to its log, and an error stops every rank.

    Args:
        runner: The runner.

    Raises:
        ConfigError: Naming file, field or id, what was found, and the nearest valid choice.
    """
    sentence: list[str | None] = [None]
    if is_main_process():
        loaders = training_loaders(runner.cfg)
        try:
            check_data(runner.cfg, loaders)
            for remark in check_data_files(runner.cfg, loaders):
                runner.logger.warning(remark)
        except ConfigError as error:
            sentence[0] = str(error)
        # The checks guard a training, and a fault of theirs must not stop it.
        except Exception as error:
            runner.logger.warning(f'The data files were not checked, because of {type(error).__name__}: {error}')
    broadcast_object_list(sentence)
    if sentence[0] is not None:
        raise ConfigError(sentence[0])
