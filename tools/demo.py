"""The demo: few labelled images and many unlabelled ones, with and without self-distillation.

A small detector learns from 24 images where handwritten digits are. The second run trains as many steps on the same
labelled images in the same strong view, and its own average also teaches it on 776 images without labels.

``make demo`` calls it. It needs no network and no data set, takes four to five minutes on two CPU cores, and writes
everything to ``demo_output``: the images, both runs with their full logs, ``curves.png``, ``detections.png`` and
``views.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools import demo_report
from tools.demo_report import Run
from tools.setup import estimate

PLAIN = ROOT / 'configs' / 'unlabelled' / 'gfl_r18_digits_few.py'
DISTILLED = ROOT / 'configs' / 'unlabelled' / 'gfl_r18_digits_few_unlabelled.py'
NUM_TRAIN, NUM_VAL = 800, 200
SAVED = 20
"""Epochs between checkpoints, from which an interrupted demo goes on: about 40 seconds on two CPU cores."""
NEXT = """\
Next, with your own COCO data: write my_config.py,

    _base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'     # or the config that you train today
    custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
    # ... your data root, annotation files, metainfo and num_classes, as in any MMDetection config ...
    custom_hooks = [dict(type='EMAHook', momentum=4e-4, update_buffers=True, priority=49)]
    default_hooks = dict(distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', share='EMAHook'),
        student_view=dict(type='kd_plugins.PhotometricView'),
        unlabelled=dict(
            weight=dict(type='kd_plugins.LinearWarmup', value=1.0, begin=5000, end=10000),
            dataloader=dict(batch_size=2, num_workers=2, dataset=dict(
                type='kd_plugins.ImageFolder', data_root='YOUR FOLDER OF IMAGES', pipeline=_base_.train_pipeline))),
        distillers=dict(
            logits=dict(type='kd_plugins.LogitDistiller', on='unlabelled', logits='bbox_head.gfl_cls',
                        select=dict(score=0.1), weight=2.0),
            edges=dict(type='kd_plugins.LocalizationDistiller', on='unlabelled', temperature=2.0,
                       select=dict(score=0.2)))))

then
    {python} -m kd_plugins preflight my_config.py       # one batch: taps, losses, weights, gradients
    {python} -m kd_plugins train my_config.py
    {python} -m kd_plugins test my_config.py work_dirs/my_config/epoch_12.pth

configs/unlabelled has the same for RTMDet, Faster R-CNN, Mask R-CNN, DINO, SegFormer and RTMPose;
docs/unlabelled.md says what to choose and what to watch.
"""


class DemoError(Exception):
    """A failure of the demo, described in one sentence."""


class Bar(Protocol):
    """Shows how far the runs are."""

    def __call__(self, done: Mapping[str, int], total: int, remaining: float | None) -> None:
        """Show the iterations of each run by name, of ``total``, and the seconds until all are done, if known."""


@contextmanager
def progress_bar(runs: Sequence[Run]) -> Iterator[Bar]:
    """Give a bar per run on a terminal, and a line every twenty seconds elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console()
    if not console.is_terminal:
        shown = [time.monotonic() - 10.0]

        def line(done: Mapping[str, int], total: int, remaining: float | None) -> None:
            if time.monotonic() - shown[0] >= 20.0:
                shown[0] = time.monotonic()
                states = [f'{name} {count}' for name, count in done.items()]
                print(f'{", ".join(states)} of {total} iterations, {left(remaining)}', flush=True)

        yield line
        return
    columns = (TextColumn('{task.description:>10}'), BarColumn(40), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn('{task.fields[left]}'), console=console) as progress:
        tasks = {run.name: progress.add_task(run.name, total=None, left='') for run in runs}

        def bar(done: Mapping[str, int], total: int, remaining: float | None) -> None:
            for name, count in done.items():
                ended = count == total
                progress.update(tasks[name], completed=count, total=total, left='' if ended else left(remaining))
                if ended:
                    progress.stop_task(tasks[name])

        yield bar


def left(seconds: float | None) -> str:
    """Return how long the runs still take, in words.

    >>> left(75.0)
    'about 1 min 20 s left'
    """
    return 'starting' if seconds is None else f'about {estimate.duration(seconds)} left'


def remaining(first: tuple[float, int], now: tuple[float, int], total: int) -> float | None:
    """Return the seconds until ``total`` iterations are done, from two observations of (time, iterations).

    >>> remaining((10.0, 5), (14.0, 15), 40)
    10.0
    >>> remaining((10.0, 5), (11.0, 5), 40) is None
    True
    """
    if now[1] <= first[1]:
        return None
    return (now[0] - first[0]) / (now[1] - first[1]) * (total - now[1])


def trainer(run: Run, options: Sequence[str]) -> list[str]:
    """Return the arguments of Python that train one config, from the newest checkpoint where there is one."""
    arguments = ['tools/train.py', str(run.config.relative_to(ROOT)), '--work-dir', str(run.work_dir)]
    if any(run.work_dir.glob('*.pth')):
        arguments.append('--resume')
    return [*arguments, '--cfg-options', f'default_hooks.checkpoint.interval={SAVED}', *options]


@contextmanager
def interruptible(runs: Sequence[Run], out: Path, options: Sequence[str]) -> Iterator[bool]:
    """Remove earlier runs, unless they were interrupted and have the same options.

    Args:
        runs: The runs.
        out: Folder of the note.
        options: For ``--cfg-options``.

    Yields:
        Whether the runs go on where they were interrupted. A note stays in ``out`` until the context ends well.
    """
    from kd_plugins.utils.files import write_atomically

    note, settings = out / 'interrupted.json', json.dumps(list(options))
    going_on = note.is_file() and note.read_text(encoding='utf-8') == settings
    if not going_on:
        for run in runs:
            shutil.rmtree(run.work_dir, ignore_errors=True)
            run.log.unlink(missing_ok=True)
    write_atomically(note, settings.encode())
    yield going_on
    note.unlink()


@contextmanager
def training(run: Run, options: Sequence[str], threads: int) -> Iterator[subprocess.Popen[bytes]]:
    """Train one config in a process of its own, which ends with the context.

    Args:
        run: The run to train.
        options: For ``--cfg-options``.
        threads: CPU threads of the process, unless ``OMP_NUM_THREADS`` is set.
    """
    environ = {
        'OMP_NUM_THREADS': str(threads),
        **os.environ,
        'DIGITS_ROOT': str(run.work_dir.parent / 'digits'),
        'PYTHONUNBUFFERED': '1',
    }
    command = [sys.executable, *trainer(run, options)]
    with run.log.open('a', encoding='utf-8') as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environ)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def train(runs: Sequence[Run], total: int, bar: Bar, options: Sequence[str]) -> float:
    """Train all runs at the same time, with an equal share of the cores.

    A small model on two threads is far from twice as fast as on one, so this takes less time than one after the other.

    Args:
        runs: The runs to train.
        total: Iterations of each.
        bar: Shows how far they are.
        options: For ``--cfg-options``.

    Returns:
        Seconds.

    Raises:
        DemoError: If one fails; the others are stopped.
    """
    start = time.monotonic()
    first: dict[str, tuple[float, int]] = {}
    done = dict.fromkeys([run.name for run in runs], 0)
    bar(done, total, None)
    with ExitStack() as stack:
        threads = max(1, estimate.cores() // len(runs))
        processes = {run.name: stack.enter_context(training(run, options, threads)) for run in runs}
        while not all(done[run.name] == total and processes[run.name].poll() == 0 for run in runs):
            time.sleep(0.5)
            seconds = []
            for run in runs:
                status = processes[run.name].poll()
                log = run.log.read_text(encoding='utf-8', errors='replace')
                if status:
                    tail = '\n'.join(log.splitlines()[-15:])
                    raise DemoError(f'training {run.config.name} failed; the end of {run.log}:\n{tail}')
                step = demo_report.last_step(log)
                if step is not None:
                    now = time.monotonic(), step[0]
                    done[run.name] = step[0]
                    seconds.append(remaining(first.setdefault(run.name, now), now, total))
                if status == 0:
                    done[run.name] = total
            known = [value for value in seconds if value is not None]
            bar(done, total, max(known) if len(known) == len(runs) else None)
    return time.monotonic() - start


def budget(options: Sequence[str]) -> tuple[int, int]:
    """Return the iterations of an epoch on the labelled images, and of a whole run.

    Raises:
        DemoError: If the two configs do not train equally long.
    """
    from mmengine.config import Config, DictAction

    found = []
    for path in (PLAIN, DISTILLED):
        config: Any = Config.fromfile(path)
        parser = argparse.ArgumentParser()
        parser.add_argument('--cfg-options', nargs='+', action=DictAction)
        config.merge_from_dict(parser.parse_args(['--cfg-options', *options]).cfg_options if options else {})
        length = config.train_dataloader.dataset.indices // config.train_dataloader.batch_size
        found.append((length, length * config.train_cfg.max_epochs))
    if found[0] != found[1]:
        raise DemoError(f'{PLAIN.name} and {DISTILLED.name} train for {found[0][1]} and {found[1][1]} iterations')
    return found[0]


def demo(out: Path, options: Sequence[str]) -> None:
    """Make the data, train twice, and show what came of it.

    Args:
        out: Folder for everything that is written.
        options: ``--cfg-options`` for both trainings.
    """
    from kd_plugins.datasets.digits import SPLITS, make_split

    start = time.monotonic()
    os.environ['DIGITS_ROOT'] = str(out / 'digits')
    made = [make_split(out / 'digits', split, count) for split, count in zip(SPLITS, (NUM_TRAIN, NUM_VAL))]
    state = 'made' if any(made) else 'already there'
    print(
        f'Data: {NUM_TRAIN} + {NUM_VAL} images of handwritten digits with COCO annotations, {state}: {out / "digits"}'
    )
    talk = (out / 'demo.log').open('w', encoding='utf-8', buffering=1)
    with demo_report.quiet(talk):
        epoch_length, total = budget(options)
    runs = [
        Run(name, config, out / name, out / f'{name}.log')
        for name, config in (('plain', PLAIN), ('distilled', DISTILLED))
    ]
    # The report is part of it: a demo that stops there must not train again.
    with interruptible(runs, out, options) as going_on:
        with progress_bar(runs) as bar:
            begun = 'Going on with both' if going_on else 'Training both side by side'
            print(f'{begun}, {total} iterations; logs: {runs[0].log}, {runs[1].log}', flush=True)
            seconds = train(runs, total, bar, options)
        print(f'Trained with and without unlabelled images in {seconds:.0f} s.')
        report(runs, epoch_length, out, talk)
    print(f'Done in {(time.monotonic() - start) / 60:.1f} minutes.')
    print('One seed on generated images: docs/results has the measurements on real ones.\n')
    print(NEXT.format(python=os.path.relpath(sys.executable, ROOT)))


def report(runs: Sequence[Run], epoch_length: int, out: Path, talk: IO[str]) -> None:
    """Print both summaries, draw the pictures, and load both checkpoints into the plain model.

    Args:
        runs: The plain and the distilled run.
        epoch_length: Iterations of an epoch.
        out: Folder of the pictures.
        talk: File for what libraries print.
    """
    plain, distilled = runs
    demo_report.print_summaries(plain, distilled)
    rows = []
    with demo_report.quiet(talk):
        demo_report.draw_curves(runs, epoch_length, out / 'curves.png')
        for run in runs:
            # Both checkpoints go into the model of the plain config.
            model, keys = demo_report.load_model(PLAIN, demo_report.last_checkpoint(run))
            images, truth, found = demo_report.detect(model, PLAIN, demo_report.NUM_IMAGES)
            rows.append((run.name, found))
        demo_report.draw_detections(images, [('ground truth', truth), *rows], out / 'detections.png')
        demo_report.draw_views(DISTILLED, demo_report.last_checkpoint(distilled), out / 'views.png')
    name = demo_report.last_checkpoint(distilled).name
    print(f'Strict load: distilled/{name} into the model of {PLAIN.name} with strict=True: all {keys} keys match.')
    print(f'Pictures: {out / "detections.png"}, {out / "curves.png"}; what the teacher is sure of: {out / "views.png"}')


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description='Train a detector with and without unlabelled images, and compare.')
    parser.add_argument('--out', type=Path, default=ROOT / 'demo_output', help='folder for everything that is written')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='passed to both trainings')
    args = parser.parse_args()
    from kd_plugins.errors import KDPluginsError

    try:
        args.out.mkdir(parents=True, exist_ok=True)
        demo(args.out.absolute(), args.cfg_options)
    except (DemoError, KDPluginsError, OSError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('demo: interrupted; the same command goes on', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
