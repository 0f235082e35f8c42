"""Train a model: ``kd_plugins train CONFIG``, with the options of OpenMMLab's own tool."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from mmengine.config import Config

from ..checkpoints import numbered_checkpoints
from ..config.data_checks import check_classes, check_data, check_trainable, training_loaders
from ..config.loading import class_name
from ..config.second_stage import check_second_stage
from ..data_checks import check_data_files
from ..errors import ConfigError
from ..hooks.averages import AverageCheck
from ..hooks.checkpoint_files import AtomicCheckpointHook
from ..hooks.data_files import is_checked
from ..hooks.empty_loader import EmptyLoaderCheck
from ..hooks.ended_terms import EndedTerms
from ..hooks.missing_metrics import MissingMetrics
from ..runner.launch import build_runner, check_resumed_weights, set_resume, write_run_record
from ..runner.resume import CutOffValidation, checkpoint_folder, lacks_validation
from ..runner.steps import distill_hook
from ..utils.cli import note, one_sentence, parse
from ..utils.device import has_accelerator
from .run_config import add_run_options, read_run_config


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(prog='kd_plugins train', description='Train a model')
    built.add_argument('config', help='config file, or package::path of an installed OpenMMLab package')
    built.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; without a path, from the newest readable one of the work_dir',
    )
    built.add_argument('--amp', action='store_true', help='train with automatic mixed precision')
    built.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    add_run_options(built, 'logs and checkpoints')
    return built


def resolve(args: Namespace) -> Config:
    """Return the config as the arguments change it.

    Raises:
        ConfigError: If an argument does not fit the config or the machine.
    """
    config = read_run_config(args)
    if args.amp:
        if not has_accelerator():
            raise ConfigError('--amp needs an accelerator and this machine has none; train without --amp')
        kind = class_name({'type': 'OptimWrapper', **config.optim_wrapper})
        if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ConfigError(f"--amp: optim_wrapper.type is '{kind}'; nearest: 'OptimWrapper'")
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'base_batch_size' not in (config.get('auto_scale_lr') or {}):
            raise ConfigError(
                '--auto-scale-lr: the config has no auto_scale_lr.base_batch_size; '
                'give --cfg-options auto_scale_lr.base_batch_size=N, the batch size of the learning rate'
            )
        config.auto_scale_lr.enable = True
    return config


def replaced_files(config: Config) -> list[str]:
    """Return a sentence about the checkpoints of an earlier run that a new run writes over.

    Args:
        config: The resolved config, with its ``work_dir``.
    """
    folder = checkpoint_folder(config)
    earlier = numbered_checkpoints(folder) if folder is not None else []
    if not earlier:
        return []
    return [
        f"'{folder}' holds checkpoints of an earlier run, up to {earlier[0][1].name}, which this run replaces; "
        '--resume goes on from them, and --work-dir names another folder'
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence('the same command with --resume goes on from the newest checkpoint'):
        config = resolve(args)
        check_trainable(config, args.config)
        check_second_stage(config)
        used = training_loaders(config)
        check_data(config, used)
        check_classes(config, used)
        if is_checked(config) and not args.skip_data_checks:
            for remark in check_data_files(config, used):
                note(remark)
        path = set_resume(config, args.resume)
        if args.resume and path is None:
            note(f"--resume: '{config.work_dir}' holds no readable checkpoint, so the run starts from the beginning")
        if path is None and args.resume is None:
            for sentence in replaced_files(config):
                note(sentence)
        cut_off = CutOffValidation(path) if path is not None and lacks_validation(config, path) else None
        runner = build_runner(config)
        if path is not None:
            check_resumed_weights(runner, path)
        hook = distill_hook(runner)
        if hook is None:
            runner.register_hook(AtomicCheckpointHook())
            runner.register_hook(EndedTerms())
        else:
            hook.checks['data'] = False  # done above, or not wanted
        if cut_off is not None:
            runner.register_hook(cut_off)
        runner.register_hook(EmptyLoaderCheck())
        runner.register_hook(AverageCheck())
        runner.register_hook(MissingMetrics())
        write_run_record(runner, path)
        runner.train()
    return 0
