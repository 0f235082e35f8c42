"""Building MMEngine's runner where it would trip: no accelerator, a damaged checkpoint to resume from."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from ..checkpoints import latest_checkpoint, load_checkpoint
from ..errors import ConfigError
from ..utils.device import has_accelerator
from ..version import __version__

PACKAGES = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmpose', 'mmsegmentation', 'mmdet3d', 'pycocotools')


def init_gloo(config: Config) -> None:
    """Set up what ``launcher='pytorch'`` needs on machines without an accelerator.

    MMEngine's own launch calls ``torch.cuda.set_device`` and wraps the model for a device index. With the process group
    initialised before the runner is built, and a wrapper without device ids, both are skipped.

    Raises:
        ConfigError: If the launcher cannot work here.
    """
    launcher = config.get('launcher', 'none')
    if launcher == 'none' or has_accelerator():
        return
    if launcher != 'pytorch':
        raise ConfigError(
            f"--launcher is '{launcher}', which needs an accelerator in MMEngine; without one, nearest: 'pytorch'"
        )
    if not torch.distributed.is_initialized():
        try:
            torch.distributed.init_process_group(backend='gloo')
        except ValueError as error:
            raise ConfigError(
                "--launcher is 'pytorch', but this process was not started by torchrun "
                f'({" ".join(str(error).split())}); nearest: tools/dist_train.sh CONFIG PROCESSES, or --launcher none'
            ) from error
    wrapper = dict(config.get('model_wrapper_cfg') or {'type': 'MMDistributedDataParallel'})
    wrapper.setdefault('device_ids', None)
    # MMEngine reads this top-level key only where no wrapper is configured.
    if config.get('find_unused_parameters') is not None:
        wrapper.setdefault('find_unused_parameters', config.find_unused_parameters)
    config.model_wrapper_cfg = wrapper


def build_runner(config: Config) -> Runner:
    """Build the runner of a config, with the process group of ranks that have no accelerator.

    Raises:
        ConfigError: If ``launcher`` cannot work on this machine.
    """
    if torch.cuda.is_available() is False and torch.distributed.is_available():
        init_gloo(config)
    init_default_scope(config.get('default_scope') or 'mmengine')
    return RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)


def set_resume(config: Config, resume: str | None) -> str | None:
    """Choose the checkpoint to resume from; the config's own ``load_from`` stays where there is none yet.

    Args:
        config: The config, with its ``work_dir``; changed in place.
        resume: ``None``, ``'auto'`` for the newest readable checkpoint of the work_dir, or a path.

    Returns:
        The path, or ``None`` where the run starts afresh.

    Raises:
        CheckpointError: If a checkpoint that is named cannot be read.
    """
    if resume is None and config.get('resume') and not config.get('load_from'):
        resume = 'auto'
    path = latest_checkpoint(config.work_dir) if resume == 'auto' else resume
    if resume is not None:
        config.resume = path is not None
    if path is not None:
        config.load_from = path
    named = config.get('load_from')
    if named and '://' not in str(named) and resume != 'auto':
        load_checkpoint(named, key='--resume' if resume else 'load_from')
    return path


def versions() -> dict[str, str]:
    """Return name to version of Python, this package and the packages that results depend on."""
    found = {'python': sys.version.split()[0], 'kd_plugins': __version__}
    for name in PACKAGES:
        for candidate in (name, name.replace('mm', 'onedl-mm', 1)):
            try:
                found[name] = version(candidate)
                break
            except PackageNotFoundError:
                continue
    return found


def write_run_record(runner: Any, resumed_from: str | None = None) -> None:
    """Write seed, versions and command beside the log of this start; MMEngine writes the resolved config itself.

    Args:
        runner: The built runner.
        resumed_from: The checkpoint that the run goes on from.
    """
    if not is_main_process():
        return
    record = {
        'command': sys.argv,
        'seed': runner.seed,
        'deterministic': runner.deterministic,
        'world_size': runner.world_size,
        'device': get_device(),
        'resumed_from': resumed_from,
        'versions': versions(),
    }
    path = Path(runner.log_dir) / 'run.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
