"""Kinds of runs that ``tools/benchmark/kill.py`` kills: their configs, their commands, and what they leave."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from kd_plugins.checkpoints import load_checkpoint, numbered_checkpoints
from kd_plugins.runner.run_log import read_rows
from kd_plugins.stages.checkpoint_selection import file_hash
from tools.benchmark.kill_parts import QuarterClassifier

COMMAND = [sys.executable, '-m', 'kd_plugins']
ITERATIONS, CHECKPOINT_INTERVAL = 30, 5
BALLAST = 200_000
TIMES = ('time', 'data_time', 'memory')
COMPARED = ('state_dict', 'optimizer', 'param_schedulers', 'distill')
"""Parts of a checkpoint that have to be equal; the others hold times."""

EMA = {'type': 'kd_plugins.EMATeacher', 'momentum': 0.2, 'warmup': 5}
FEATURE = {'type': 'kd_plugins.FeatureDistiller', 'student_tap': 'backbone.5', 'weight': 0.5}
LOGIT = {'type': 'kd_plugins.LogitDistiller', 'logits': 'head', 'activation': 'softmax', 'temperature': 2.0}
RAMP = {'type': 'kd_plugins.LinearWarmup', 'value': 0.5, 'end': 3, 'by_epoch': True}


def model(width: int) -> dict[str, Any]:
    """Return the config of a network."""
    return {'type': 'QuarterClassifier', 'width': width, 'ballast': BALLAST}


def loader(length: int, train: bool, pause: float) -> dict[str, Any]:
    """Return the config of a data loader."""
    return {
        'batch_size': 4,
        'num_workers': 0,
        'sampler': {'type': 'DefaultSampler', 'shuffle': train},
        'collate_fn': {'type': 'default_collate'},
        'dataset': {'type': 'QuarterSquares', 'length': length, 'pause': pause, 'noisy': train},
    }


def training(distill: dict[str, Any] | None, width: int = 8, epochs: int = 5, pause: float = 0.01) -> dict[str, Any]:
    """Return the config of a training of some epochs with a validation after each.

    Args:
        distill: Arguments of the DistillHook, or ``None``.
        width: Channels of the network.
        epochs: Length of the training.
        pause: Seconds that an image takes to load, which make the run last.
    """
    hooks: dict[str, Any] = {
        'logger': {'type': 'LoggerHook', 'interval': 1},
        'checkpoint': {
            'type': 'CheckpointHook', 'interval': 1, 'max_keep_ckpts': 2, 'save_best': 'error', 'rule': 'less',
        },
        'epoch_seed': {'type': 'kd_plugins.EpochSeedHook'},
    }  # fmt: skip
    if distill is not None:
        hooks['distill'] = {'type': 'kd_plugins.DistillHook', **distill}
    return {
        'default_scope': 'mmengine',
        'custom_imports': {'imports': ['kd_plugins', 'tools.benchmark.kill_parts'], 'allow_failed_imports': False},
        'model': model(width),
        'train_dataloader': loader(24, True, pause),
        'val_dataloader': loader(16, False, pause / 2),
        'test_dataloader': loader(16, False, 0.0),
        'val_evaluator': {'type': 'QuarterMetric'},
        'test_evaluator': {'type': 'QuarterMetric'},
        'train_cfg': {'by_epoch': True, 'max_epochs': epochs, 'val_interval': 1},
        'val_cfg': {},
        'test_cfg': {},
        'optim_wrapper': {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9},
            'clip_grad': {'max_norm': 5},
        },
        'param_scheduler': [
            {'type': 'LinearLR', 'start_factor': 0.2, 'by_epoch': False, 'begin': 0, 'end': 8},
            {'type': 'MultiStepLR', 'by_epoch': True, 'milestones': [3], 'gamma': 0.5},
        ],
        'default_hooks': hooks,
        'randomness': {'seed': 5},
        'env_cfg': {'cudnn_benchmark': False},
        'log_level': 'INFO',
    }  # fmt: skip


def frozen(out: Path) -> dict[str, Any]:
    """Return the config of a wider teacher with weights of a file."""
    file = {'config': {'model': model(12)}, 'checkpoint': str(out / 'wide.pth')}
    return {'type': 'kd_plugins.FrozenTeacher', **file}


def averaged(out: Path, epochs: int = 5) -> dict[str, Any]:
    """Return a run with an average as teacher."""
    distillers = {'feature': FEATURE, 'logit': {**LOGIT, 'weight': RAMP}}
    return training({'teacher': EMA, 'distillers': distillers}, epochs=epochs)


def averaged_briefly(out: Path) -> dict[str, Any]:
    """Return a shorter run with an average as teacher, for a comparison."""
    return averaged(out, epochs=3)


def snapshot(out: Path) -> dict[str, Any]:
    """Return a run whose teacher is the student of two epochs ago."""
    teacher = {'type': 'kd_plugins.SnapshotTeacher', 'epochs': 2}
    return training({'teacher': teacher, 'distillers': {'feature': FEATURE, 'logit': LOGIT}})


def restarted(out: Path) -> dict[str, Any]:
    """Return a run with a new head, taught by the finished model."""
    teacher = {'type': 'kd_plugins.FinishedTeacher'}
    distill = {'restart': {'parts': ['head']}, 'task_weight': 0.5, 'teacher': teacher, 'distillers': {'logit': LOGIT}}
    return {**training(distill), 'load_from': str(out / 'narrow.pth')}


def weights_only(out: Path) -> dict[str, Any]:
    """Return a run with a new head whose checkpoints hold weights only.

    Its optimizer, rate and teacher have no state, so that it can be resumed exactly.
    """
    distill = {'restart': {'parts': ['head']}, 'teacher': frozen(out), 'distillers': {'logit': LOGIT}}
    config = training(distill)
    config['default_hooks']['checkpoint'].update(save_optimizer=False)
    config['optim_wrapper']['optimizer'] = {'type': 'SGD', 'lr': 0.01}
    return {**config, 'param_scheduler': None, 'load_from': str(out / 'narrow.pth')}


def adapted(out: Path) -> dict[str, Any]:
    """Return a run with adapters, which have an optimizer of their own."""
    optimizer = {'optimizer': {'type': 'Adam', 'lr': 0.01}, 'clip_grad': {'max_norm': 1.0}}
    return training({'teacher': frozen(out), 'distillers': {'feature': FEATURE}, 'optimizer': optimizer})


def several(out: Path) -> dict[str, Any]:
    """Return a run with two teachers, whose images a worker loads."""
    distillers = {'feature': {**FEATURE, 'source': 'big'}, 'logit': {**LOGIT, 'source': 'average'}}
    config = training({'teachers': {'big': frozen(out), 'average': EMA}, 'distillers': distillers})
    config['train_dataloader'].update(num_workers=1, persistent_workers=False)
    return config


def iterations(out: Path) -> dict[str, Any]:
    """Return a run of a loop of iterations, logged every fourth one, with accumulated gradients."""
    config = training({'teacher': EMA, 'distillers': {'feature': {**FEATURE, 'weight': RAMP}, 'logit': LOGIT}})
    config['train_cfg'] = {'by_epoch': False, 'max_iters': ITERATIONS, 'val_interval': CHECKPOINT_INTERVAL}
    config['train_dataloader']['sampler'] = {'type': 'InfiniteSampler', 'shuffle': True}
    config['param_scheduler'] = [{'type': 'CosineAnnealingLR', 'by_epoch': False, 'T_max': ITERATIONS}]
    config['default_hooks']['logger']['interval'] = 4
    config['default_hooks']['checkpoint'].update(by_epoch=False, interval=CHECKPOINT_INTERVAL)
    config['optim_wrapper']['accumulative_counts'] = CHECKPOINT_INTERVAL
    return {**config, 'log_processor': {'by_epoch': False}}


def stages(out: Path) -> dict[str, Any]:
    """Return a chain of two trainings."""
    chain = {
        'wide': {'config': str(write(out, 'wide_stage', training(None, 12))), 'pick': 'best'},
        'narrow': {
            'config': str(write(out, 'taught_stage', adapted(out))),
            'takes': {'default_hooks.distill.teacher.checkpoint': 'wide'},
        },
    }
    return {'stages': chain}


def write(out: Path, name: str, config: dict[str, Any]) -> Path:
    """Write a config and return its path."""
    path = out / 'configs' / f'{name}.py'
    path.parent.mkdir(parents=True, exist_ok=True)
    Config(config).dump(str(path))
    return path


def write_weights(out: Path) -> None:
    """Write the weights from which runs start; they are the same in every call."""
    for name, width in (('wide', 12), ('narrow', 8)):
        torch.manual_seed(width)
        torch.save({'state_dict': QuarterClassifier(width, BALLAST).state_dict()}, out / f'{name}.pth')


@dataclass(frozen=True)
class Kind:
    """One kind of run.

    Attributes:
        config: Function of the output folder that returns the config.
        command: Subcommand of kd_plugins.
        trainings: Folders of trainings below the work_dir.
        sentence: Part of a sentence that each resumed run has to log.
    """

    config: Callable[[Path], dict[str, Any]]
    command: str = 'train'
    trainings: tuple[str, ...] = ('.',)
    sentence: str = ''

    def words(self, name: str, out: Path, work_dir: Path) -> list[str]:
        """Return the command that starts, and after a kill restarts, a run."""
        configs = [str(write(out, name, self.config(out)))]
        options = {'train': ['--resume'], 'compare': ['--seeds', '0', '1', '--metric', 'error', '--test-last']}
        if self.command == 'compare':
            configs.insert(0, str(write(out, 'plain', training(None, epochs=3))))
        return [*COMMAND, self.command, *configs, '--work-dir', str(work_dir), *options.get(self.command, [])]


KINDS = {
    'ema': Kind(averaged),
    'snapshot': Kind(snapshot),
    'restart': Kind(restarted),
    'weights': Kind(weights_only, sentence='holds weights only'),
    'adapters': Kind(adapted),
    'teachers': Kind(several),
    'iterations': Kind(iterations),
    'stages': Kind(stages, 'train-stages', ('wide', 'narrow')),
    'compare': Kind(
        averaged_briefly, 'compare', tuple(f'{arm}/seed_{seed}' for arm in ('plain', 'compare') for seed in (0, 1))
    ),
}


def result_of(kind: Kind, work_dir: Path) -> dict[str, Any]:
    """Return what a finished run left: checkpoints, logged values and exported files."""
    result: dict[str, Any] = {name: training_result(work_dir / name) for name in kind.trainings}
    if kind.command == 'train-stages':
        entries = json.loads((work_dir / 'stages.json').read_text(encoding='utf-8'))['stages']
        result['exported'] = {name: file_hash(work_dir / f'{name}.pth') for name in kind.trainings}
        result['stages.json'] = {
            name: {key: value for key, value in entry.items() if key != 'seconds'} for name, entry in entries.items()
        }
    if kind.command == 'compare':
        result['results.json'] = json.loads((work_dir / 'report' / 'results.json').read_text(encoding='utf-8'))
    return result


def training_result(folder: Path) -> dict[str, Any]:
    """Return the newest checkpoint, the best one, the names of all, and the logged values of a training."""
    newest = load_checkpoint(numbered_checkpoints(folder)[0][1])
    info = newest['message_hub']['runtime_info']
    best = folder / Path(info['best_ckpt']).name
    return {
        'checkpoint': {part: newest[part] for part in COMPARED if part in newest},
        'reached': [newest['meta'][unit] for unit in ('epoch', 'iter')],
        'best': [info['best_score'], best.name, load_checkpoint(best)['state_dict']],
        'files': sorted(path.name for path in folder.glob('*.pth')),
        'unfinished files': sorted(path.name for path in folder.glob('.*.pth*')),
        'log': logged(folder),
    }


def logged(folder: Path) -> dict[str, Any]:
    """Return the logged values by step; where a killed run had logged a step before, the later line counts."""
    values: dict[str, Any] = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for row in read_rows(path):
            kind = 'train' if 'lr' in row else 'val'
            values[f'{kind} {row["step"]}'] = {name: row[name] for name in row if name not in TIMES}
    return values


def first_difference(before: Any, after: Any, path: str = '') -> str:
    """Return where two results differ first, or an empty string."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        only = set(before) ^ set(after)
        if only:
            return f'{path}: only one has {sorted(map(str, only))[:4]}'
        parts = ((f'{path}.{key}', before[key], after[key]) for key in before)
    elif isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)) and len(before) == len(after):
        parts = ((f'{path}.{index}', *pair) for index, pair in enumerate(zip(before, after)))
    elif isinstance(before, Tensor) and isinstance(after, Tensor):
        same = before.dtype == after.dtype and torch.equal(before, after)
        return '' if same else f'{path}: tensors differ'
    else:
        return '' if before == after or (before != before and after != after) else f'{path}: {before} and {after}'
    return next((found for found in (first_difference(x, y, name) for name, x, y in parts) if found), '')
