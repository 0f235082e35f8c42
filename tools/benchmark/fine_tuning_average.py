"""Measure the AP of two averages while D-FINE-N learns new classes: ``python tools/benchmark/fine_tuning_average.py``.

One training is measured three times at the end of some epochs: with its trained weights, with the average of the
released configs for data of one's own (momentum 1e-4, no warm-up), and with that of ``FittedEMAHook``. It starts from
random weights of a detector of 80 classes, as a stand-in for a released file; the tensors that depend on the number of
classes start anew. The data are BCCD (``BCCD_ROOT``), a quarter of its training images.
"""

from __future__ import annotations

import copy
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from kd_plugins.checkpoints import load_weights
from kd_plugins.config.loading import load_config
from kd_plugins.hooks.averages import start_decay
from kd_plugins.hooks.fitted_ema_hook import fitted
from kd_plugins.runner.launch import build_runner
from kd_plugins.utils.tables import print_table

ROOT = Path(__file__).resolve().parents[2]
RELEASED = 1e-4
METRICS = ('coco/bbox_mAP', 'coco/bbox_mAP_50')
CLASSES = ('RBC', 'WBC', 'Platelets')


class Averages(Hook):
    """Keep both averages of a training, and evaluate them and the trained weights at the end of some epochs.

    Args:
        start: Weights of a detector of 80 classes.
        every: Epochs between evaluations.
    """

    priority = 'LOW'

    def __init__(self, start: dict[str, Tensor], every: int) -> None:
        self.start, self.every = start, every
        self.rows: list[dict[str, Any]] = []
        self.averages: dict[str, ExponentialMovingAverage] = {}

    def before_train(self, runner: Any) -> None:
        """Load the weights and begin the averages, of which the first update copies them."""
        from mmdet.models.layers import ExpMomentumEMA

        report = load_weights(runner.model, {'state_dict': self.start}, 'the file of 80 classes', strict=False)
        print(f'{len(report.loaded)} tensors loaded; anew: {", ".join(report.mismatched)}', flush=True)
        momentum, gamma = fitted(RELEASED, 1000, runner.max_iters, 100_000)
        self.averages = {
            'released': ExponentialMovingAverage(runner.model, RELEASED, update_buffers=True),
            'fitted': ExpMomentumEMA(runner.model, min(momentum, 0.99), gamma, update_buffers=True),
        }
        for name, average in self.averages.items():
            average.steps += 1  # the first update would copy the weights after the first iteration
            print(f'{name}: {start_decay(average, runner.max_iters):.3g} = -ln(share of the start)', flush=True)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Update the averages."""
        for average in self.averages.values():
            average.update_parameters(runner.model)

    def after_train_epoch(self, runner: Any) -> None:
        """Evaluate."""
        epoch = runner.epoch + 1
        if epoch % self.every and epoch != runner.max_epochs:
            return
        trained = copy.deepcopy(runner.model.state_dict())
        states = {'trained': trained, **{name: one.module.state_dict() for name, one in self.averages.items()}}
        for name, state in states.items():
            runner.model.load_state_dict(state)
            metrics = runner.val_loop.run() or {}
            row = {'epoch': epoch, 'weights': name, **{metric: metrics.get(metric, 0.0) for metric in METRICS}}
            self.rows.append(row)
            print(json.dumps(row), flush=True)
        runner.model.load_state_dict(trained)
        runner.model.train()


def config_of(args: Namespace) -> Config:
    """Return D-FINE-N for data of one's own, on BCCD and at a size that a CPU trains."""
    config = load_config(str(ROOT / 'configs' / 'dfine_native' / 'dfine_n_custom.py'))
    data = load_config(str(ROOT / 'configs' / '_base_' / 'datasets' / 'bccd.py'))
    names = {'train_dataloader': args.images, 'val_dataloader': None}
    for key, count in names.items():
        loader, source = config[key], data[key].dataset
        loader.update(batch_size=args.batch, num_workers=0, persistent_workers=False)
        for name in ('data_root', 'ann_file', 'data_prefix', 'metainfo'):
            loader.dataset[name] = source[name]
        if count is not None:
            loader.dataset.indices = count
        for step in loader.dataset.pipeline:
            if step['type'] == 'Resize':
                step['scale'] = (args.size, args.size)
    config.val_evaluator = dict(type='CocoMetric', ann_file=data.val_evaluator.ann_file, metric='bbox')
    config.test_dataloader = config.test_evaluator = config.test_cfg = None
    config.model.bbox_head.num_classes = len(CLASSES)
    config.train_cfg.update(max_epochs=args.epochs, val_interval=args.epochs + 1)
    config.optim_wrapper.optimizer.lr = args.lr
    config.default_hooks.update(
        ema=None, second_stage=None, checkpoint=None, logger=dict(type='LoggerHook', interval=10)
    )
    del config.default_hooks['ema'], config.default_hooks['second_stage']
    config.load_from = None
    config.work_dir, config.launcher = str(args.work_dir), 'none'
    config.randomness = dict(seed=args.seed)
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and measure; return the exit status: 1 where the fitted average detects nothing."""
    parser = ArgumentParser(description='Compare two averages while D-FINE-N learns new classes')
    parser.add_argument('--images', type=int, default=73, help='training images (default: %(default)s)')
    parser.add_argument('--epochs', type=int, default=30, help='epochs (default: %(default)s)')
    parser.add_argument('--every', type=int, default=10, help='epochs between evaluations (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=4, help='images a batch (default: %(default)s)')
    parser.add_argument('--size', type=int, default=320, help='height and width in pixels (default: %(default)s)')
    parser.add_argument('--lr', type=float, default=4e-4, help='learning rate (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed (default: %(default)s)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/fine_tuning_average'), help='%(default)s')
    args = parser.parse_args(arguments)
    config = config_of(args)
    torch.manual_seed(args.seed)
    released = copy.deepcopy(config.model)
    released.bbox_head.num_classes = 80
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = MODELS.build(released)
        detector.init_weights()
    hook = Averages(detector.state_dict(), args.every)
    runner = build_runner(config)
    runner.register_hook(hook)
    runner.train()
    (args.work_dir / 'averages.json').write_text(json.dumps(hook.rows, indent=1) + '\n', encoding='utf-8')
    rows = [[str(row['epoch']), row['weights'], *(f'{row[metric]:.4f}' for metric in METRICS)] for row in hook.rows]
    print_table('AP on the test part of BCCD', ['epoch', 'weights', 'AP', 'AP50'], rows)
    return int(not any(row['weights'] == 'fitted' and row[METRICS[0]] > 0 for row in hook.rows))


if __name__ == '__main__':
    sys.exit(main())
