"""Build the runner, with fallbacks for machines without an accelerator and for damaged checkpoints."""

from __future__ import annotations

import copy
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.registry import HOOKS, MODELS, RUNNERS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from ..checkpoints import load_checkpoint, weights_of
from ..config.data_checks import check_trainable
from ..config.hook_entries import distill_entry
from ..config.loading import class_name
from ..errors import CheckpointError, ConfigError, KDPluginsError
from ..hooks.entries import check_entries
from ..hooks.run_checks import is_sharding
from ..utils.build import first_line
from ..utils.checkpoint_content import resume_faults
from ..utils.cli import note, sentence_of
from ..utils.data_errors import building_sentence
from ..utils.device import has_accelerator
from ..utils.files import write_atomically
from ..utils.rng import forked_rng
from ..utils.urls import is_url
from ..version import __version__
from .resume import newest_checkpoint
from .weights import check_weights

FLEXIBLE = 'FlexibleRunner'
PACKAGES = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmpose', 'mmsegmentation', 'mmdet3d', 'pycocotools')


def init_gloo(config: Config) -> None:
    """Initialise the gloo process group for ``launcher='pytorch'`` on a machine without an accelerator.

    MMEngine's own launch calls ``torch.cuda.set_device`` and wraps the model for a device index. It does neither where
    the process group exists before the runner is built and the wrapper has no device ids. SyncBatchNorm, which runs on
    GPUs only, is switched off with a note.

    Args:
        config: The config with its ``launcher``; ``model_wrapper_cfg`` and ``sync_bn`` are changed in place.

    Raises:
        ConfigError: If the launcher cannot work on this machine.
    """
    launcher = config.get('launcher', 'none')
    if launcher == 'none' or has_accelerator():
        return
    if launcher != 'pytorch':
        raise ConfigError(
            f"--launcher is '{launcher}', which needs an accelerator in MMEngine; without one, nearest: 'pytorch'"
        )
    if is_flexible(config):
        raise ConfigError(
            f"runner_type is '{FLEXIBLE}', whose several processes need an accelerator in MMEngine; without "
            "one, nearest: 'Runner'"
        )
    if not torch.distributed.is_initialized():
        try:
            torch.distributed.init_process_group(backend='gloo')
        except ValueError as error:
            raise ConfigError(
                "--launcher is 'pytorch', but this process was not started by torchrun "
                f'({" ".join(str(error).split())}); nearest: torchrun --nproc_per_node=N -m kd_plugins train CONFIG '
                '--launcher pytorch, or --launcher none'
            ) from error
    if config.get('sync_bn') is not None:
        note(f"sync_bn is '{config.sync_bn}', which needs a GPU; here each process has BatchNorm statistics of its own")
        config.sync_bn = None
    # MMEngine's own wrapper leaves the buffers of each rank alone, one from a config exchanges them by default.
    own = {'type': 'MMDistributedDataParallel', 'broadcast_buffers': False}
    wrapper = dict(config.get('model_wrapper_cfg') or own)
    wrapper.setdefault('device_ids', None)
    # MMEngine reads this top-level key only where no wrapper is configured.
    if config.get('find_unused_parameters') is not None:
        wrapper.setdefault('find_unused_parameters', config.find_unused_parameters)
    config.model_wrapper_cfg = wrapper


def is_flexible(config: Config) -> bool:
    """Return whether MMEngine's runner with strategies trains a config, which builds the model when training begins.

    >>> is_flexible(Config({'runner_type': 'mmengine.FlexibleRunner'})), is_flexible(Config({'strategy': {}}))
    (True, False)
    """
    return class_name({'type': config.get('runner_type')}) == FLEXIBLE


def check_strategy(config: Config) -> None:
    """Refuse a DistillHook in a run whose strategy divides the parameters, before its package is imported.

    Args:
        config: The config.

    Raises:
        ConfigError: Naming the strategy.
    """
    strategy = config.get('strategy')
    name = class_name(strategy) if isinstance(strategy, dict) else ''
    if is_flexible(config) and is_sharding(name) and distill_entry(config) is not None:
        raise ConfigError(
            f"strategy.type is '{name}', which divides the parameters of the model between ranks, and distillers tap "
            "whole layers; nearest: 'DDPStrategy'"
        )


def without_strategy(config: Config) -> None:
    """Refuse what :func:`check_strategy` refuses, and let MMEngine's plain runner take the place of ``FlexibleRunner``.

    Commands that evaluate or inspect need the model before a training begins.

    Args:
        config: The config; changed in place.

    Raises:
        ConfigError: See :func:`check_strategy`.
    """
    check_strategy(config)
    if is_flexible(config):
        config.pop('runner_type')


def build_runner(config: Config) -> Runner:
    """Build the runner of a config, after initialising gloo where there is no accelerator.

    Raises:
        ConfigError: If ``launcher`` cannot work on this machine, or the strategy not with a DistillHook.
    """
    check_strategy(config)
    if torch.distributed.is_available():
        init_gloo(config)
    init_default_scope(config.get('default_scope') or 'mmengine')
    check_entries(config)
    return RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)


def check_parts(config: Config, path: str) -> None:
    """Refuse a config whose model or hooks cannot be built, before another training that it is compared with begins.

    The model is built without its weights of a file, and dropped. Random numbers and the config stay as they are.

    Args:
        config: The resolved config; one without a model is left to its run.
        path: Its path, for the error sentence.

    Raises:
        ConfigError: If a part cannot be built.
        MissingDependencyError: If a package that it needs is not installed.
    """
    if not config.get('model'):
        return
    try:
        check_trainable(config, path)
        check_strategy(config)
        init_default_scope(config.get('default_scope') or 'mmengine')
        check_entries(config)
        with forked_rng():
            entry = distill_entry(config)
            if entry is not None:
                HOOKS.build({key: value for key, value in copy.deepcopy(entry).items() if key != 'priority'})
            MODELS.build(copy.deepcopy(config.model))
    except Exception as error:  # a constructor may fail in any way
        text = sentence_of(error) or building_sentence(error) or f'{type(error).__name__}: {first_line(error)}'
        kind = type(error) if isinstance(error, KDPluginsError) else ConfigError
        raise kind(f"'{path}' cannot be trained: {text}") from error


def is_checked_here(path: str) -> bool:
    """Return whether this process reads a checkpoint before the run: a file, or a URL where no other rank downloads it.

    MMEngine takes a downloaded file from the same folder.
    """
    return '://' not in path or (is_url(path) and os.environ.get('LOCAL_RANK', '0') == '0')


def set_resume(config: Config, resume: str | None) -> str | None:
    """Choose the checkpoint to resume from and set ``resume`` and ``load_from`` accordingly.

    While the work_dir holds no checkpoint, ``load_from`` keeps its value from the config.

    Without ``resume``, the config decides: ``resume=True`` goes on from ``load_from``, or else from the newest one.

    Args:
        config: The config with its ``work_dir``; changed in place.
        resume: ``None``, ``'auto'`` for the newest readable checkpoint of the work_dir, or a path.

    Returns:
        The path, or ``None`` where the run does not resume.

    Raises:
        CheckpointError: If the checkpoint named by ``resume`` or ``load_from`` cannot be read.
    """
    named = '--resume' if resume is not None else 'resume'
    if resume is None and config.get('resume'):
        # MMEngine's FlexibleRunner takes a path, too.
        resume = config.resume if isinstance(config.resume, str) else config.get('load_from') or 'auto'
    path = newest_checkpoint(config) if resume == 'auto' else resume
    if resume is not None:
        config.resume = path is not None
    if path is not None:
        config.load_from = path
    start = config.get('load_from')
    if start and (resume != 'auto' or path is None) and is_checked_here(str(start)):
        key = named if path is not None else 'load_from'
        checkpoint = load_checkpoint(start, key=key)
        if not weights_of(checkpoint):
            raise CheckpointError(f"{key}: '{start}' holds no weights; expected a dict with 'state_dict'")
        fault = next(resume_faults(checkpoint), None) if path is not None else None
        if fault is not None:
            raise CheckpointError(
                f"{key}: '{start}' holds {fault}, so no run can go on from it; start a new run with load_from='{start}'"
                + ('' if key == '--resume' else ' and resume=False')
            )
    return path


def check_resumed_weights(runner: Any, path: str) -> None:
    """Refuse to go on from a checkpoint that leaves parameters of the model at their random start.

    Checkpoints of remote storage are not read here, and neither is one for a runner that builds its model later.

    Args:
        runner: The built runner.
        path: The checkpoint.

    Raises:
        CheckpointError: Naming the first such parameter.
    """
    if ('://' in path and not is_url(path)) or not isinstance(runner.model, nn.Module):
        return
    check_weights(runner.model, load_checkpoint(path, key='--resume'), path, key='--resume')


def versions() -> dict[str, str]:
    """Return name to version of Python, of this package and of the packages that affect results."""
    installed = {'python': sys.version.split()[0], 'kd_plugins': __version__}
    for name in PACKAGES:
        for candidate in (name, name.replace('mm', 'onedl-mm', 1)):
            try:
                installed[name] = version(candidate)
                break
            except PackageNotFoundError:
                continue
    return installed


def write_run_record(runner: Any, resumed_from: str | None = None) -> None:
    """Write seed, versions and command to ``run.json`` in the log folder; MMEngine itself writes the resolved config.

    Args:
        runner: The built runner.
        resumed_from: The checkpoint that the run resumes from.
    """
    if not is_main_process():
        return
    record = {
        'command': sys.argv,
        'seed': runner.seed,
        # MMEngine's FlexibleRunner has this property, which reads an attribute that it lacks.
        'deterministic': bool((runner.cfg.get('randomness') or {}).get('deterministic', False)),
        'world_size': runner.world_size,
        'device': get_device(),
        'resumed_from': resumed_from,
        'versions': versions(),
    }
    write_atomically(Path(runner.log_dir) / 'run.json', f'{json.dumps(record, indent=2)}\n'.encode())
