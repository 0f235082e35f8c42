"""Report of two finished demo runs: summaries, curves, detections and the strict load."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r'(Average (?:Precision|Recall)\s+\(A[PR]\) @\[ .*? \]) = +(-?\d\.\d+)')
STEP = re.compile(r'Epoch\(train\)\s+\[ *(\d+)\]\[ *(\d+)/(\d+)\]')
METRIC = 'coco/bbox_mAP'
NUM_IMAGES = 5
SCORE = 0.4

Samples = list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]
"""Boxes (K, 4), labels (K,) and scores (K,) of each image."""


@dataclass(frozen=True)
class Run:
    """One of the two trainings.

    Attributes:
        name: ``'plain'`` or ``'distilled'``.
        config: Its config file.
        work_dir: Where it writes.
        log: Everything that it printed.
    """

    name: str
    config: Path
    work_dir: Path
    log: Path


@contextmanager
def quiet(log: IO[str]) -> Iterator[None]:
    """Let libraries talk to a file instead of the terminal.

    Args:
        log: Stays open until the process ends, since loggers that are made meanwhile keep it.
    """
    out, err = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = log
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        sys.stdout, sys.stderr = out, err


def last_step(text: str) -> tuple[int, int] | None:
    """Return iterations done and iterations of an epoch from the newest line of a log that tells.

    >>> last_step('Epoch(train)  [3][ 10/100]  lr: 1e-3')
    (210, 100)
    """
    found = STEP.findall(text)
    if not found:
        return None
    epoch, step, length = map(int, found[-1])
    return (epoch - 1) * length + step, length


def coco_summary(text: str) -> list[tuple[str, float]]:
    """Return the 12 rows of the last COCO evaluation in a log.

    >>> coco_summary(' Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.514')
    [('Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]', 0.514)]
    """
    return [(name, float(value)) for name, value in ROW.findall(text)][-12:]


def print_summaries(plain: Run, distilled: Run) -> None:
    """Print the COCO summaries of both runs side by side."""
    from rich.console import Console
    from rich.table import Table

    rows = [coco_summary(run.log.read_text(encoding='utf-8', errors='replace')) for run in (plain, distilled)]
    table = Table('COCO evaluation, validation images', title='24 labelled images; distilled: and 776 without labels')
    for name in (plain.name, distilled.name, 'difference'):
        table.add_column(name, justify='right')
    for (name, first), (_, second) in zip(*rows):
        # -1 is COCO's word for: no object of that size.
        none = first < 0 or second < 0
        cells = ['-', '-', ''] if none else [f'{first:.3f}', f'{second:.3f}', f'{second - first:+.3f}']
        table.add_row(name.replace('[', r'\['), *cells)
    Console(width=110).print(table)


def scalars(run: Run) -> list[dict[str, Any]]:
    """Return every line of the run's logs; where a resumed run repeats a step, the later line counts."""
    from kd_plugins.runner.run_log import is_validation, read_rows

    rows = {}
    for path in sorted(run.work_dir.glob('*/vis_data/scalars.json')):
        rows.update({(is_validation(row), row['step']): row for row in read_rows(path)})
    return [row for _, row in sorted(rows.items(), key=lambda item: item[0])]


def draw_curves(runs: Sequence[Run], epoch_length: int, path: Path) -> None:
    """Draw task loss, distillation terms and AP over the epochs.

    Args:
        runs: The runs to compare.
        epoch_length: Iterations of an epoch.
        path: PNG to write.
    """
    import matplotlib

    matplotlib.use('agg')
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.0), layout='constrained')
    for run, colour in zip(runs, ('tab:gray', 'tab:red')):
        lines = scalars(run)
        steps = [line for line in lines if 'loss_cls' in line]
        epochs = [line['step'] / epoch_length for line in steps]
        # The task's own loss, so that the two curves mean the same.
        task = [sum(line[name] for name in ('loss_cls', 'loss_bbox', 'loss_dfl')) for line in steps]
        left.plot(epochs, task, color=colour, label=run.name)
        terms = sorted({name for line in steps for name in line if name.startswith('distill.')})
        for number, name in enumerate(terms):
            values = [line.get(name, np.nan) for line in steps]
            middle.plot(epochs, values, color=colour, linestyle=('-', '--', ':')[number % 3], label=name)
        tested = [line for line in lines if METRIC in line]
        right.plot(
            [line['step'] for line in tested], [line[METRIC] for line in tested], 'o-', color=colour, label=run.name
        )
    for axes, title in ((left, 'task loss'), (middle, 'distillation terms, weighted'), (right, 'COCO AP')):
        axes.set(title=title, xlabel='epoch')
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize='small')
    save(figure, path)
    plt.close(figure)


def save(figure: Any, path: Path) -> None:
    """Write a figure in one piece."""
    partial = path.with_suffix('.partial.png')
    figure.savefig(partial, dpi=110)
    partial.replace(path)


def last_checkpoint(run: Run) -> Path:
    """Return the checkpoint of the run's last epoch."""
    return Path((run.work_dir / 'last_checkpoint').read_text(encoding='utf-8').strip())


def load_model(config: Path, checkpoint: Path) -> tuple[Any, int]:
    """Build the plain config's model and load a checkpoint with ``strict=True``.

    Returns:
        The model in eval mode, and the number of keys that matched.
    """
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    from kd_plugins.checkpoints import load_checkpoint

    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    weights = load_checkpoint(checkpoint)['state_dict']
    model.load_state_dict(weights, strict=True)
    return model.eval(), len(weights)


def detect(model: Any, config: Path, count: int) -> tuple[list[NDArray[Any]], Samples, Samples]:
    """Run a model on the first validation images.

    Returns:
        The images (RGB), the ground truth and the detections.
    """
    import torch
    from mmengine.config import Config
    from mmengine.registry import DATASETS

    dataset = DATASETS.build(Config.fromfile(config).val_dataloader.dataset)
    images, truth, found = [], [], []
    for index in range(count):
        item = dataset[index]
        batch = {'inputs': [item['inputs']], 'data_samples': [item['data_samples']]}
        images.append(item['inputs'].numpy()[::-1].transpose(1, 2, 0).copy())
        given = item['data_samples'].gt_instances
        boxes = getattr(given.bboxes, 'tensor', given.bboxes).numpy().copy()
        truth.append((boxes, given.labels.numpy(), np.ones(len(boxes))))
        with torch.inference_mode():
            predicted = model.test_step(batch)[0].pred_instances
        keep = predicted.scores > SCORE
        found.append(tuple(getattr(predicted, name)[keep].numpy() for name in ('bboxes', 'labels', 'scores')))
    return images, truth, found


def draw_views(config: Path, checkpoint: Path, path: Path) -> None:
    """Draw unlabelled images, the student's view of them, and how confident the teacher is.

    Args:
        config: Config of the distilled run.
        checkpoint: The average of its weights.
        path: PNG to write.
    """
    from mmengine.config import Config

    from kd_plugins.visualization.view_figure import view_figure

    loaded = Config.fromfile(config)
    loaded.default_hooks.distill.student_view.pop('labelled')
    save(view_figure(loaded, NUM_IMAGES, checkpoint=str(checkpoint)), path)


def draw_detections(images: Sequence[Any], rows: Sequence[tuple[str, Samples]], path: Path) -> None:
    """Draw one row of images per source of boxes.

    Args:
        images: RGB images of shape (H, W, 3).
        rows: Title and boxes of each row.
        path: PNG to write.
    """
    import matplotlib

    matplotlib.use('agg')
    import matplotlib.pyplot as plt

    colours = plt.get_cmap('tab10')
    shape = (len(rows), len(images))
    figure, grid = plt.subplots(*shape, figsize=(2.7 * shape[1], 2.8 * shape[0]), layout='constrained', squeeze=False)
    for line, (title, samples) in zip(grid, rows):
        line[0].set_ylabel(title)
        for axes, image, (boxes, labels, scores) in zip(line, images, samples):
            axes.imshow(image)
            axes.set(xticks=[], yticks=[])
            for (x1, y1, x2, y2), label, score in zip(boxes, labels, scores):
                colour = colours(int(label) % 10)
                axes.add_patch(plt.Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.6))
                text = str(int(label)) if score == 1 else f'{int(label)} {score:.2f}'
                axes.text(
                    x1,
                    max(y1 - 2, 6),
                    text,
                    fontsize=7,
                    color='white',
                    bbox=dict(facecolor=colour, edgecolor='none', pad=0.8),
                )
    save(figure, path)
    plt.close(figure)
