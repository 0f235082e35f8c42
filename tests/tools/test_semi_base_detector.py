"""The comparison with MMDetection's SemiBaseDetector: the same losses, a table with every run, refused arguments."""

from __future__ import annotations

import copy
import json
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')

from kd_plugins.errors import ConfigError
from kd_plugins.runner.steps import batches, drive, temporary_runner, train_step

tool = import_module('tools.benchmark.semi_base_detector')
SMALL = ['--size', '64', '64', '--width', '16', '--labelled', '1', '--unlabelled', '2', '--objects', '4']
# Every location and every proposal counts, so that nothing is drawn at random.
ALL = ['model.train_cfg.rpn.sampler.num=100000', 'model.train_cfg.rcnn.sampler.num=100000']


def first_losses(configs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the losses of the first step of ``ours`` and ``semi_base`` with the same weights."""
    found: dict[str, dict[str, float]] = {}

    def body(ours: Any, theirs: Any) -> None:
        state = copy.deepcopy(ours.model.state_dict())
        theirs.model.student.load_state_dict(state)
        theirs.model.teacher.load_state_dict(state)
        (batch,) = batches(ours, 1)
        for name, runner in (('ours', ours), ('semi_base', theirs)):
            outputs = train_step(runner, 0, copy.deepcopy(batch))
            found[name] = {key: float(value.detach()) for key, value in outputs.items() if 'loss_' in key}

    with (
        temporary_runner(configs['ours'], False) as (ours, _),
        temporary_runner(configs['semi_base'], False) as (
            theirs,
            _,
        ),
    ):
        drive(ours, partial(drive, theirs, partial(body, ours, theirs)))
    return found


@pytest.mark.slow
def test_both_compute_the_same_losses() -> None:
    options = dict(entry.split('=') for entry in ALL)
    args = tool.parser().parse_args(SMALL)
    args.cfg_options = {key: int(value) for key, value in options.items()}
    found = first_losses(tool.arms(args))
    own = {key.removeprefix('distill.pseudo.'): value for key, value in found['ours'].items() if 'pseudo' in key}
    theirs = {key.removeprefix('unsup_'): value for key, value in found['semi_base'].items() if 'unsup_' in key}
    assert set(own) == {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'}
    assert own == pytest.approx(theirs, rel=1e-4) and min(own.values()) > 0
    labelled = {key: value for key, value in found['ours'].items() if 'distill' not in key}
    assert labelled == pytest.approx(
        {key.removeprefix('sup_'): value for key, value in found['semi_base'].items() if key.startswith('sup_')},
        rel=1e-4,
    )


@pytest.mark.slow
def test_five_runs_are_measured(run: Any, tmp_path: Path) -> None:
    out = tmp_path / 'numbers.json'
    printed = run(tool, *SMALL, '--generated', '--steps', '1', '--warmup', '1', '--device', 'cpu', '--out', out).out
    assert all(name in printed for name in tool.NAMES.values())
    numbers = json.loads(out.read_text())
    held = numbers['parameters']
    assert held['plain'] * 2 == held['ours'] == held['semi_base'] == held['soft_teacher']
    peaks = {name: cost['peak_bytes'] for name, cost in numbers['costs'].items()}
    assert peaks['plain'] < peaks['ours'] <= peaks['soft_teacher']
    assert set(numbers['ratios']) == {f'{a}/{b}' for a in ('ours', 'view') for b in ('semi_base', 'soft_teacher')}


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--objects', '0'], '--objects is 0; nearest: 1'),
        (['--device', 'cuda'], "--device is 'cuda', and this process"),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, 'has_accelerator', lambda: False)
    with pytest.raises(ConfigError, match=sentence):
        tool.check(tool.parser().parse_args(arguments))


def test_images_of_a_folder_are_those_of_bccd() -> None:
    args = tool.parser().parse_args(['--data', 'data/bccd', '--size', '96', '128'])
    dataset = tool.images(args, 8, 2)['dataset']
    assert dataset['start'] == 8 and dataset['count'] == 8 and dataset['source']['data_root'] == 'data/bccd'
    assert dataset['source']['pipeline'][2]['scale'] == (128, 96)
