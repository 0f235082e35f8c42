"""Estimate the weight of the labels for the next generation: ``kd_plugins mixing-weight CONFIG PLAIN DISTILLED``.

Two checkpoints of one segmentor, one trained on the labels alone and one on the outputs of a finished run alone, run
over the validation data. The printed weight would have fitted its labels best if the network were linear in its
targets; it is a first value for ``task_weight``.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import get_world_size

from ..diagnostics.mixing_weight import measure_mixing
from ..errors import ConfigError
from ..runner.run_log import without_nan
from ..utils.cli import one_sentence, parse
from ..utils.files import write_atomically
from .run_config import add_run_options
from .test import build_tested_runner, evaluators_of, read_tested_config


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins mixing-weight', description='Estimate the weight of the labels for the next generation'
    )
    built.add_argument('config', help='config of the network, a segmentor of MMSegmentation')
    built.add_argument('checkpoint', help='checkpoint of a run on the labels alone')
    built.add_argument('distilled', help='checkpoint of a run on the outputs of a teacher, with task_weight=0')
    built.add_argument('--split', choices=('val', 'test'), default='val', help='data of the outputs')
    built.add_argument('--out', help='write the values to this JSON file')
    add_run_options(built, 'the log')
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        config = read_tested_config(args)
        if config.get('default_scope') != 'mmseg':
            raise ConfigError(
                f"default_scope is '{config.get('default_scope')}', whose predictions are no probabilities on a common "
                "grid; valid: 'mmseg'"
            )
        if args.split == 'val':
            if not config.get('val_dataloader') or not config.get('val_evaluator'):
                raise ConfigError("--split is 'val', and the config has no validation; nearest: --split test")
            config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
        ignored = (one.get('ignore_index') for one in evaluators_of(config) if one.get('ignore_index') is not None)
        runner = build_tested_runner(config, args)
        if get_world_size() > 1:
            raise ConfigError('kd_plugins mixing-weight runs in one process; start it without a launcher')
        weight = measure_mixing(runner, args.distilled, next(ignored, 255))
        if args.out:
            content = {'mixing_weight': weight.value, 'product': weight.product, 'square': weight.square}
            write_atomically(Path(args.out), (json.dumps(without_nan(content)) + '\n').encode())
        print(sentence(weight.value))
    return 0


def sentence(value: float) -> str:
    """Return the weight in words.

    >>> sentence(0.25)
    'mixing weight 0.250: task_weight=0.25, and 0.75 for the distiller'
    >>> sentence(1.5)
    'mixing weight 1.500: the labels alone fit best (task_weight=1)'
    """
    if value != value:
        return 'mixing weight: not defined, as both checkpoints give the same outputs'
    if not 0 < value < 1:
        best = 'the labels alone fit best (task_weight=1)' if value >= 1 else 'the teacher alone fits best'
        return f'mixing weight {value:.3f}: {best}'
    return f'mixing weight {value:.3f}: task_weight={value:.2f}, and {1 - value:.2f} for the distiller'
