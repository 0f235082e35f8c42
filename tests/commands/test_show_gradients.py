"""What ``kd_plugins show gradients`` prints and refuses, on generated images."""

from pathlib import Path

import pytest

from kd_plugins.commands import show_gradients
from kd_plugins.config.loading import load_config
from kd_plugins.runner.launch import build_runner
from kd_plugins.runner.steps import batches, copy_batch, drive, prepare_config, train_step

pytest.importorskip('mmdet')
CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'feature' / 'gfl_r18_bccd_self-feat.py'
SMALL = {'model.backbone.base_channels': 8, 'model.neck.in_channels': [8, 16, 32, 64]}


@pytest.fixture
def show(run):
    def call(*options, config=CONFIG):
        small = [f'{key}={value}'.replace(' ', '') for key, value in SMALL.items()]
        return run(show_gradients, config, '--generated', '--batches', 2, *options, '--cfg-options', *small)

    return call


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


def test_a_row_for_each_module_and_one_for_all(show):
    status, out, err = show()
    assert status == 0, err
    rows = {line.split('  ')[0]: line for line in out.splitlines()}
    assert {'backbone.layer4', 'neck.fpn_convs', 'bbox_head.gfl_cls', 'all'} <= set(rows)
    assert rows['bbox_head.gfl_cls'].split()[-1] == '-'
    assert rows['all'].count('(') == rows['module'].count('loss_')


def test_a_run_goes_on_from_its_checkpoint(show, checkpoint):
    """The numbers differ from those of the start, repeat, and leave the file alone."""
    before = checkpoint.read_bytes()
    printed = [show('--checkpoint', checkpoint).out for _ in range(2)]
    assert printed[0] == printed[1] != show().out
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    ('options', 'config', 'match'),
    [
        (['--batches', '0'], CONFIG, '--batches is 0'),
        ([], CONFIG.parents[1] / 'gfl' / 'gfl_r18_bccd.py', "default_hooks has no 'distill'"),
        (['--checkpoint', 'epoch_9.pth'], CONFIG, 'epoch_9.pth'),
    ],
)
def test_sentences(show, options, config, match):
    outcome = show(*options, config=config)
    assert outcome.status == 2 and match in outcome.error
