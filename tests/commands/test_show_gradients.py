"""What tools/analysis/show_gradients.py prints and refuses, on generated images."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from kd_plugins.config.loading import load_config
from kd_plugins.runner.launch import build_runner
from kd_plugins.runner.steps import batches, copy_batch, drive, prepare_config, train_step

pytest.importorskip('mmdet')
CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'feature' / 'gfl_r18_bccd_self-feat.py'
SMALL = {'model.backbone.base_channels': 8, 'model.neck.in_channels': [8, 16, 32, 64]}
tool = import_module('kd_plugins.commands.show_gradients')


def show(capsys, monkeypatch, *options, config=CONFIG):
    monkeypatch.delenv('KD_DEBUG', raising=False)
    small = [f'{key}={value}'.replace(' ', '') for key, value in SMALL.items()]
    arguments = ['tool', str(config), '--generated', '--batches', '2', *options, '--cfg-options', *small]
    monkeypatch.setattr(sys, 'argv', arguments)
    status = 0
    try:
        tool.main()
    except SystemExit as stopped:
        status = stopped.code
    found = capsys.readouterr()
    return status, found.out, found.err


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """What two steps of training leave."""
    folder = tmp_path_factory.mktemp('run')
    config = load_config(str(CONFIG), SMALL)
    prepare_config(config, str(folder), generated=True)
    runner = build_runner(config)

    def body():
        for index, batch in enumerate(batches(runner, 2)):
            train_step(runner, index, copy_batch(batch))
        runner.save_checkpoint(str(folder), 'epoch_1.pth')

    drive(runner, body)
    return folder / 'epoch_1.pth'


def test_a_row_for_each_module_and_one_for_all(capsys, monkeypatch):
    status, out, err = show(capsys, monkeypatch)
    assert status == 0, err
    rows = {line.split('  ')[0]: line for line in out.splitlines()}
    assert {'backbone.layer4', 'neck.fpn_convs', 'bbox_head.gfl_cls', 'all'} <= set(rows)
    assert rows['bbox_head.gfl_cls'].split()[-1] == '-'
    assert rows['all'].count('(') == out.splitlines()[2].count('loss_')


def test_a_run_goes_on_from_its_checkpoint(capsys, monkeypatch, checkpoint):
    """The numbers differ from those of the start, repeat, and leave the file alone."""
    before = checkpoint.read_bytes()
    found = [show(capsys, monkeypatch, '--checkpoint', str(checkpoint))[1] for _ in range(2)]
    assert found[0] == found[1] != show(capsys, monkeypatch)[1]
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    ('options', 'config', 'match'),
    [
        (['--batches', '0'], CONFIG, '--batches is 0'),
        ([], CONFIG.with_name('gfl_r18_bccd.py'), "default_hooks has no 'distill'"),
        (['--checkpoint', 'epoch_9.pth'], CONFIG, 'epoch_9.pth'),
    ],
)
def test_sentences(capsys, monkeypatch, options, config, match):
    status, _, err = show(capsys, monkeypatch, *options, config=config)
    lines = [line for line in err.splitlines() if line.startswith('error')]
    assert status == 2 and len(lines) == 1 and match in lines[0]
