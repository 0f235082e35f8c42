"""Score a student and a teacher without training: ``kd_plugins score STUDENT TEACHER``.

DisWOT's score on random weights and one batch of the student's training data: how similarly both networks relate images
to each other, and how similarly their classes weigh channels. A higher score, nearer to 0, means more similar.
"""

from __future__ import annotations

import statistics
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from ..config.data_checks import needs_generated
from ..config.loading import load_config
from ..diagnostics.similarity import Score, random_scores
from ..errors import ConfigError
from ..runner.steps import batches, temporary_runner
from ..suggestions.trial import without_distillation
from ..testing import strip_pretrained
from ..utils.cli import SEED, add_cfg_options, note, one_sentence, parse, whole_number
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins score', description="DisWOT's similarity of a student and a teacher with random weights"
    )
    built.add_argument('student', help='config file, or package::path; its training data gives the batch')
    built.add_argument('teacher', nargs='+', help='config of a teacher, or of several')
    built.add_argument('--seeds', nargs='+', type=SEED, default=[0, 1, 2], help='seeds of the random weights')
    built.add_argument('--batch-size', type=whole_number(1), help="images in the batch; default: the config's")
    built.add_argument('--features', help='part whose last output is the deepest map; default: the backbone')
    built.add_argument('--classifier', help='layer of the class scores; default: found by its name')
    built.add_argument('--teacher-features', help='the same of the teacher')
    built.add_argument('--teacher-classifier', help='the same of the teacher')
    built.add_argument('--generated', action='store_true', help='use generated data even where the data set exists')
    add_cfg_options(built)
    return built


def builder(config: Config, scope: str) -> Callable[[], Any]:
    """Return a function that builds the model of a config with new random weights.

    Args:
        config: The config.
        scope: Scope of the registry.

    Raises:
        ConfigError: If the config has another scope.
    """
    own = config.get('default_scope') or 'mmengine'
    if own != scope:
        raise ConfigError(f"default_scope of the teacher is '{own}' and of the student '{scope}'; give one task")
    model = config.model.copy()
    list(strip_pretrained(model))

    def build() -> Any:
        with DefaultScope.overwrite_default_scope(scope):
            network: Any = MODELS.build(model)
            network.init_weights()
        return network

    return build


def scores_of(args: Namespace) -> dict[str, list[Score]]:
    """Return the scores of each teacher, one for each seed.

    Raises:
        KDPluginsError: If a config cannot be built, or a layer is not found.
    """
    config = without_distillation(load_config(args.student, args.cfg_options))
    if args.batch_size is not None:
        config.train_dataloader.batch_size = args.batch_size
    scope = config.get('default_scope') or 'mmengine'
    paths = {name: getattr(args, name) for name in ('features', 'classifier', 'teacher_features', 'teacher_classifier')}
    teachers = {path: builder(load_config(path), scope) for path in args.teacher}
    found = {}
    with temporary_runner(config, needs_generated([config], args.generated)) as (runner, _):
        if runner.world_size > 1:
            raise ConfigError('kd_plugins score runs in one process; start it without a launcher')
        student = builder(config, scope)
        torch.manual_seed(0)
        (batch,) = batches(runner, 1)
        inputs = runner.model.data_preprocessor(batch, True)
        for path, teacher in teachers.items():
            found[path] = random_scores((student, teacher), inputs, args.seeds, paths)
    return found


def show(scores: dict[str, list[Score]]) -> None:
    """Print the means over the seeds and their standard deviations."""
    rows = []
    for path, own in scores.items():
        cells = [spread([one.relation for one in own])]
        reason = next((one.reason for one in own if one.reason), '')
        if reason:
            note(f'{path}: the semantic similarity is not defined: {reason}')
            cells += ['-', '-']
        else:
            cells += [spread([one.semantic or 0.0 for one in own]), spread([one.total or 0.0 for one in own])]
        rows.append([path, *cells, str(len(own))])
    title = 'DisWOT, random weights; nearer to 0 is more similar'
    print_table(title, ['teacher', 'relation', 'semantic', 'score', 'seeds'], rows)


def spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation.

    >>> spread([-0.5, -0.7]), spread([-0.5])
    ('-0.6000 ± 0.1414', '-0.5000')
    """
    mean = f'{statistics.fmean(values):.4f}'
    return f'{mean} ± {statistics.stdev(values):.4f}' if len(values) > 1 else mean


def main(arguments: Sequence[str] | None = None) -> int:
    """Score and print; return the exit status."""
    args = parse(parser(), arguments)
    warnings.simplefilter('ignore')
    with one_sentence():
        show(scores_of(args))
    return 0
