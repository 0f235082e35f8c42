"""The demo's own logic, without its trainings: reading logs, progress, tables, pictures, the strict load."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tools import demo, demo_report
from tools.demo_report import Run

pytest.importorskip('rich')
pytest.importorskip('matplotlib')

SIZES = ('   all', '   all', '   all', ' small', 'medium', ' large')
SUMMARY = '\n'.join(
    f' Average {kind} @[ IoU=0.50:0.95 | area={size} | maxDets=100 ] = {value}'
    for kind, value in (('Precision  (AP)', 0.25), ('Recall     (AR)', 0.5))
    for size, value in ((size, -1.0 if size == ' large' else value) for size in SIZES)
)


def make_run(folder: Path, name: str, log: str = SUMMARY) -> Run:
    work_dir = folder / name
    (work_dir / '20260101_000000' / 'vis_data').mkdir(parents=True)
    run = Run(name, demo.PLAIN, work_dir, folder / f'{name}.log')
    run.log.write_text(log)
    lines: list[dict[str, float]] = []
    for step in (10, 20):
        lines.append(dict(loss=2.5, loss_cls=1.0, loss_bbox=0.5, loss_dfl=0.25, step=step))
        if name == 'distilled':
            lines[-1]['distill.localization.loss_ld'] = 0.75
    lines.append({'coco/bbox_mAP': 0.25, 'step': 1})
    text = '\n'.join(map(json.dumps, lines))
    (work_dir / '20260101_000000' / 'vis_data' / 'scalars.json').write_text(text)
    return run


def test_progress_is_read_from_the_newest_line() -> None:
    text = 'Epoch(train)  [1][100/100]  lr: 1\nEpoch(val) [1][13/13]\nEpoch(train)  [2][ 10/100]  lr: 1\n'
    assert demo_report.last_step(text) == (110, 100)
    assert demo_report.last_step('Checkpoints will be saved to x') is None


def test_summary_is_the_last_evaluation() -> None:
    rows = demo_report.coco_summary(SUMMARY.replace('0.25', '0.11') + '\n' + SUMMARY)
    assert len(rows) == 12 and [value for _, value in rows[:2]] == [0.25, 0.25]
    assert rows[5][1] == -1.0 and rows[11][1] == -1.0


def test_summaries_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = SUMMARY.replace('0.5\n', '0.4\n')
    demo_report.print_summaries(make_run(tmp_path, 'plain', worse), make_run(tmp_path, 'distilled'))
    printed = capsys.readouterr().out
    assert printed.count('Average ') == 12
    assert '+0.100' in printed and '-1.0' not in printed


def test_pictures_are_written(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, 'plain'), make_run(tmp_path, 'distilled')]
    demo_report.draw_curves(runs, 10, tmp_path / 'curves.png')
    boxes = (np.array([[2.0, 3.0, 20.0, 30.0]]), np.array([7]), np.array([0.5]))
    none = (np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    image = np.zeros((64, 64, 3), np.uint8)
    demo_report.draw_detections([image, image], [('plain', [boxes, none])], tmp_path / 'detections.png')
    for name in ('curves', 'detections'):
        assert (tmp_path / f'{name}.png').read_bytes().startswith(b'\x89PNG')
    assert not list(tmp_path.glob('*.partial*'))


def test_quiet_sends_chatter_to_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / 'log').open('w') as log:
        with demo_report.quiet(log):
            print('loading annotations into memory...')
        print('a result')
    assert capsys.readouterr().out == 'a result\n'
    assert 'loading' in (tmp_path / 'log').read_text()


def test_both_runs_train_at_the_same_time_and_the_slower_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[dict[str, int], int, float | None]] = []

    def script(run: Run, options: list[str]) -> list[str]:
        # Each run waits for the other, and goes on when the bar has shown what both logged.
        done = (10, 15) if run.name == 'plain' else (10, 12)
        return [
            '-c',
            f"""
import os, pathlib, time
for number, done in enumerate({done}):
    print(f'Epoch(train)  [1][ {{done}}/20]  lr', flush=True)
    while not pathlib.Path(r'{tmp_path}', f'shown_{{number}}').exists():
        time.sleep(0.01)
pathlib.Path(r'{tmp_path}', '{run.name}_threads').write_text(os.environ['OMP_NUM_THREADS'])
""",
        ]

    monkeypatch.setattr(demo, 'trainer', script)
    monkeypatch.setattr(demo.estimate, 'cores', lambda: 6)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    # By this clock, the iterations between take 1.2 s.
    first = {'plain': 10, 'distilled': 10}
    clock = SimpleNamespace(
        monotonic=lambda: 1.2 * (tmp_path / 'shown_0').exists(), sleep=lambda seconds: time.sleep(0.02)
    )
    monkeypatch.setattr(demo, 'time', clock)

    def bar(done: dict[str, int], total: int, seconds: float | None) -> None:
        shown.append((dict(done), total, seconds))
        if done == first:
            (tmp_path / 'shown_0').touch()
        if done == {'plain': 15, 'distilled': 12}:
            (tmp_path / 'shown_1').touch()

    runs = [make_run(tmp_path, name, '') for name in first]
    demo.train(runs, 20, bar, [])
    assert shown[0] == ({'plain': 0, 'distilled': 0}, 20, None)
    assert shown[-1][0] == {'plain': 20, 'distilled': 20}
    # The distilled run has 8 iterations left, at 0.6 s each.
    measured = [seconds for done, _, seconds in shown if done == {'plain': 15, 'distilled': 12}]
    assert measured and measured == pytest.approx([4.8] * len(measured))
    assert [(tmp_path / f'{name}_threads').read_text() for name in first] == ['3', '3']


def test_bar_shows_both_runs_in_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter(range(0, 1000, 25))
    monkeypatch.setattr(demo, 'time', SimpleNamespace(monotonic=lambda: float(next(seconds))))
    runs = [make_run(tmp_path, name) for name in ('plain', 'distilled')]
    with demo.progress_bar(runs) as bar:
        bar({'plain': 0, 'distilled': 0}, 20, None)
        bar({'plain': 10, 'distilled': 5}, 20, 70.0)
    assert capsys.readouterr().out.splitlines() == [
        'plain 0, distilled 0 of 20 iterations, starting',
        'plain 10, distilled 5 of 20 iterations, about 1 min 10 s left',
    ]


def test_a_failing_training_is_one_sentence_and_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(run: Run, options: list[str]) -> list[str]:
        return ['-c', "raise SystemExit('no data')" if run.name == 'plain' else 'import time; time.sleep(60)']

    monkeypatch.setattr(demo, 'trainer', script)
    runs = [make_run(tmp_path, name, '') for name in ('plain', 'distilled')]
    start = time.monotonic()
    with pytest.raises(
        demo.DemoError, match=r'training gfl_r18_digits_few\.py failed; the end of .*plain\.log:\nno data'
    ):
        demo.train(runs, 20, lambda *args: None, [])
    assert time.monotonic() - start < 50.0  # the other one was stopped


def test_both_configs_train_equally_long() -> None:
    pytest.importorskip('mmdet')
    length, total = demo.budget(['train_cfg.max_epochs=3'])
    assert total == 3 * length and demo.budget([])[1] % length == 0


def test_strict_load_refuses_another_model(tmp_path: Path) -> None:
    pytest.importorskip('mmdet')
    import torch
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    config = Config.fromfile(demo.PLAIN)
    init_default_scope('mmdet')
    weights = MODELS.build(config.model).state_dict()
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': weights}, path)
    model, keys = demo_report.load_model(demo.PLAIN, path)
    assert keys == len(weights) and not model.training
    torch.save({'state_dict': {**weights, 'teacher.weight': torch.zeros(1)}}, path)
    with pytest.raises(RuntimeError, match=r'teacher\.weight'):
        demo_report.load_model(demo.PLAIN, path)


def test_curves_of_a_resumed_run_have_each_step_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, 'plain')
    later = run.work_dir / '20260101_000001' / 'vis_data'
    later.mkdir(parents=True)
    lines = [dict(loss=2.0, lr=0.1, step=20), dict(loss=1.5, lr=0.1, step=30), {'coco/bbox_mAP': 0.5, 'step': 2}]
    (later / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    rows = [(row['step'], row.get('loss'), row.get('coco/bbox_mAP')) for row in demo_report.scalars(run)]
    assert rows == [(10, 2.5, None), (20, 2.0, None), (30, 1.5, None), (1, None, 0.25), (2, None, 0.5)]


def test_an_interrupted_demo_goes_on_with_the_same_options_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path, 'plain')
    with pytest.raises(KeyboardInterrupt), demo.interruptible([run], tmp_path, ['a=1']) as going_on:
        assert not going_on and not run.work_dir.exists() and not run.log.exists()
        make_run(tmp_path, 'plain')
        assert '--resume' not in demo.trainer(run, [])
        (run.work_dir / 'epoch_40.pth').touch()
        raise KeyboardInterrupt
    assert '--resume' in demo.trainer(run, [])
    with demo.interruptible([run], tmp_path, ['a=1']) as going_on:
        assert going_on and run.log.exists()
    with demo.interruptible([run], tmp_path, ['a=1']) as going_on:  # a finished demo begins from the start
        assert not going_on and not run.work_dir.exists()
    make_run(tmp_path, 'plain')
    with pytest.raises(KeyboardInterrupt), demo.interruptible([run], tmp_path, ['a=1']):
        raise KeyboardInterrupt
    with demo.interruptible([run], tmp_path, ['a=2']) as going_on:
        assert not going_on


def test_a_demo_that_stops_in_its_report_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings are finished then, and must not begin again."""
    going_on: list[bool] = []

    def train(runs: list[Run], *args: object) -> float:
        going_on.append(all(any(run.work_dir.glob('*.pth')) for run in runs))
        for run in runs:
            run.work_dir.mkdir(exist_ok=True)
            (run.work_dir / 'epoch_120.pth').touch()
        return 0.0

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('kd_plugins.datasets.digits.make_split', lambda *args: False)
    monkeypatch.setattr(demo, 'budget', lambda options: (3, 360))
    monkeypatch.setattr(demo, 'train', train)
    monkeypatch.setattr(demo_report, 'print_summaries', stop)
    monkeypatch.setenv('DIGITS_ROOT', 'elsewhere')
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            demo.demo(tmp_path, [])
    assert going_on == [False, True]


def test_checkpoints_are_saved_often(tmp_path: Path) -> None:
    """An interrupted demo repeats a minute at most, and the user's options come last."""
    words = demo.trainer(make_run(tmp_path, 'plain'), ['a=1'])
    assert words[words.index('--cfg-options') + 1 :] == ['default_hooks.checkpoint.interval=20', 'a=1']
