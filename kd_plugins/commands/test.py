"""Evaluate a checkpoint: ``kd_plugins test CONFIG CHECKPOINT``, with the options of OpenMMLab's own tool."""

from __future__ import annotations

import copy
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ..checkpoints import load_checkpoint
from ..config.data_checks import check_classes, check_data
from ..config.loading import class_name
from ..data_checks import check_data_files
from ..data_checks.evaluator import COCO_METRICS
from ..errors import ConfigError
from ..evaluation.calibration import PREFIX
from ..hooks.data_files import is_checked
from ..runner.launch import build_runner, without_strategy
from ..runner.weights import check_weights, fit_structure
from ..utils.build import find_class
from ..utils.cli import note, one_sentence, parse
from .run_config import add_run_options, read_run_config

SEGMENTOR_VISUALIZER = {
    'type': 'SegLocalVisualizer',
    'vis_backends': [{'type': 'LocalVisBackend'}],
    'name': 'visualizer',
}
"""Visualizer of MMSegmentation's runtime, for a config without one."""
CALIBRATIONS = {'mmdet': 'DetectionCalibration', 'mmseg': 'PixelCalibration'}
"""``default_scope`` to the class of the metric of calibration."""


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(prog='kd_plugins test', description='Test (and evaluate) a model')
    built.add_argument('config', help='config file, or package::path of an installed OpenMMLab package')
    built.add_argument('checkpoint', help='checkpoint file, or a URL')
    built.add_argument('--out', help='write the predictions to this pickle file')
    built.add_argument('--show', action='store_true', help='show the predictions')
    built.add_argument('--show-dir', help='save painted images in this folder below work_dir')
    built.add_argument('--wait-time', type=float, default=2.0, help='seconds between shown images')
    built.add_argument('--calibration', action='store_true', help='measure the calibration as well, and draw it')
    add_run_options(built, 'the metrics')
    return built


def show_predictions(config: Config, args: Namespace) -> None:
    """Switch on the visualization hook of the config's package; its options have a different name in each package.

    Raises:
        ConfigError: If the config has no such hook.
    """
    hook = config.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ConfigError(
            "--show: default_hooks has no 'visualization'; in MMDetection, nearest: "
            'default_hooks.visualization.type=DetVisualizationHook'
        )
    scope = config.get('default_scope')
    hook['enable' if scope == 'mmpose' else 'draw'] = True
    if scope == 'mmseg':
        hook['interval'] = 1  # by default its hook paints the images of every 50th batch
    if args.show:
        hook['show'] = True
        hook['wait_time'] = args.wait_time
    if args.show_dir:
        if scope == 'mmseg':
            config.visualizer = {**(config.get('visualizer') or SEGMENTOR_VISUALIZER)}
            config.visualizer.save_dir = str(Path(config.work_dir) / args.show_dir)
        else:
            hook['out_dir' if scope == 'mmpose' else 'test_out_dir'] = args.show_dir


def dump_predictions(config: Config, out: str) -> None:
    """Add the metric that writes a pickle file to the test evaluators.

    Raises:
        ConfigError: If the file does not end in ``.pkl`` or ``.pickle``.
    """
    if not out.endswith(('.pkl', '.pickle')):
        raise ConfigError(
            f"--out: '{out}' does not end in '.pkl' or '.pickle'; nearest: '{Path(out).with_suffix('.pkl')}'"
        )
    kind = 'mmdet.DumpDetResults' if config.get('default_scope') == 'mmdet' else 'mmengine.DumpResults'
    add_evaluator(config, {'type': kind, 'out_file_path': out}, '--out')


def add_evaluator(config: Config, metric: dict[str, Any], option: str) -> None:
    """Add a metric to the test evaluators.

    Args:
        config: The config; changed in place.
        metric: The metric.
        option: Option of the command line that asks for it, for the error sentence.

    Raises:
        ConfigError: If the evaluator is of a class whose metrics have a meaning of their own.
    """
    check_evaluator(config, option)
    metrics, whole = [*evaluators_of(config), metric], config.test_evaluator
    config.test_evaluator = {**whole, 'metrics': metrics} if is_whole(whole) else metrics


def check_evaluator(config: Config, option: str) -> None:
    """Refuse an evaluator of a class whose metrics have a meaning of their own, as one for each data set.

    Raises:
        ConfigError: Naming the class.
    """
    whole = config.test_evaluator
    if is_whole(whole) and class_name({'type': 'Evaluator', **whole}) != 'Evaluator':
        raise ConfigError(
            f"{option}: test_evaluator.type is '{whole['type']}', to which no metric can be added; nearest: 'Evaluator'"
        )


def is_whole(evaluator: Any) -> bool:
    """Return whether an entry describes an evaluator with its ``metrics``, and not a metric.

    >>> is_whole({'metrics': [{'type': 'CocoMetric'}]}), is_whole({'type': 'CocoMetric'})
    (True, False)
    """
    return isinstance(evaluator, dict) and 'metrics' in evaluator


def evaluators_of(config: Config) -> list[Any]:
    """Return the metrics of the test as a list."""
    metrics: Any = config.test_evaluator
    metrics = metrics['metrics'] if is_whole(metrics) else metrics
    return list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]


def measure_calibration(config: Config) -> None:
    """Add the metric of calibration that fits the config to the test evaluators; its files go to the ``work_dir``.

    A metric of this kind that is there already keeps its settings.

    Raises:
        ConfigError: If the scope of the config has none, the evaluator takes no further metric, or its metrics read
            several files.
    """
    check_evaluator(config, '--calibration')
    scope = config.get('default_scope')
    kind = CALIBRATIONS.get(scope)
    if kind is None:
        raise ConfigError(
            f"--calibration: default_scope is '{scope}', whose predictions have no probability of being right; valid: "
            f'{", ".join(map(repr, CALIBRATIONS))}'
        )
    metrics = evaluators_of(config)
    given = [one for one in metrics if class_name(one) == kind and one.get('prefix') in (None, PREFIX)]
    for metric in given:
        metric['out_dir'] = config.work_dir
    if given:
        return  # MMEngine refuses two metrics of one name
    added: dict[str, Any] = {'type': f'kd_plugins.{kind}', 'out_dir': config.work_dir}
    if scope == 'mmdet':
        added['ann_file'] = file_of_objects(config)
    else:
        ignored = (one.get('ignore_index') for one in metrics if one.get('ignore_index') is not None)
        added['ignore_index'] = next(ignored, 255)
    add_evaluator(config, added, '--calibration')


def file_of_objects(config: Config) -> str | None:
    """Return the annotation file that MMDetection's ``CocoMetric``, or a class derived from it, reads in the test.

    Returns:
        ``None`` where no such metric has a file. The files of other metrics are no COCO files of boxes.

    Raises:
        ConfigError: If there are several files.
    """
    metrics = [one for one in evaluators_of(config) if one.get('ann_file') and is_coco_metric(one)]
    files = list(dict.fromkeys(one['ann_file'] for one in metrics))
    if len(files) > 1:
        raise ConfigError(
            f"--calibration: the metrics of test_evaluator read {len(files)} files, '{files[0]}' and '{files[1]}'; "
            "without this option, add dict(type='kd_plugins.DetectionCalibration', ann_file=...) with the file of "
            'test_dataloader to test_evaluator'
        )
    return next(iter(files), None)


def is_coco_metric(metric: dict[str, Any]) -> bool:
    """Return whether an entry names MMDetection's ``CocoMetric`` or a class derived from it."""
    if class_name(metric) in COCO_METRICS:
        return True
    from mmdet.evaluation import CocoMetric
    from mmdet.registry import METRICS

    try:
        return bool(find_class(METRICS, metric.get('type'), CocoMetric, 'test_evaluator.type'))
    except ConfigError:
        return False


def read_tested_config(args: Namespace) -> Config:
    """Return the config as the options of a run change it.

    Raises:
        KDPluginsError: If the config cannot be read, has no test, or an option does not fit it.
    """
    config = read_run_config(args)
    check_testable(config, args.config)
    return config


def check_testable(config: Config, path: str, calibration: bool = False) -> None:
    """Refuse a config that has no test or, where it is wanted, whose predictions have no calibration.

    Args:
        config: The resolved config; it is not changed.
        path: Its path, for error sentences.
        calibration: Whether the calibration is to be measured.

    Raises:
        ConfigError: Naming the missing key, or why there is no calibration.
    """
    missing = [key for key in ('model', 'test_dataloader', 'test_cfg', 'test_evaluator') if config.get(key) is None]
    if missing:
        raise ConfigError(f"config: '{path}' has no '{missing[0]}', so it cannot be tested; inherit one that has")
    if calibration:
        tried = copy.deepcopy(config)
        tried.work_dir = ''
        measure_calibration(tried)


def build_tested_runner(config: Config, args: Namespace) -> Runner:
    """Return a runner that tests a checkpoint, after checking data and weights.

    Args:
        config: Result of :func:`read_tested_config`.
        args: With ``checkpoint`` and ``skip_data_checks``.

    Raises:
        KDPluginsError: If the data or the checkpoint do not fit the config.
    """
    checkpoint = load_checkpoint(args.checkpoint)
    check_data(config, ('test_dataloader',))
    check_classes(config, ('test_dataloader',))
    if is_checked(config) and not args.skip_data_checks:
        for remark in check_data_files(config, ('test_dataloader',)):
            note(remark)
    config.load_from, config.resume = args.checkpoint, False
    without_strategy(config)
    runner = build_runner(config)
    fit_structure(runner.model, checkpoint)
    for remark in check_weights(runner.model, checkpoint, args.checkpoint):
        note(remark)
    return runner


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        config = read_tested_config(args)
        if args.show or args.show_dir:
            show_predictions(config, args)
        if args.out:
            dump_predictions(config, args.out)
        if args.calibration:
            measure_calibration(config)
        build_tested_runner(config, args).test()
    return 0
