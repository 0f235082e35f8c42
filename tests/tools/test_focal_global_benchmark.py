"""The comparison with the released loss of FGD, on a stand-in of our own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError, KDPluginsError

tool = import_module('tools.benchmark.focal_global')
SMALL = ['--images', '2', '--channels', '4', '--size', '64', '96', '--repeats', '1', '--objects', '1', '3']
# It imports what the released file imports.
STAND_IN = """
from mmcv.cnn import constant_init, kaiming_init

from ..builder import DISTILL_LOSSES
from tests.distillers.focal_global.direct import DirectLoss


@DISTILL_LOSSES.register_module()
class FeatureLoss(DirectLoss):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        kaiming_init(self.conv_mask_s, mode='fan_in')
        constant_init(self.channel_add_conv_t[-1], val=0)
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    file = tmp_path / 'clone' / tool.FILE
    file.parent.mkdir(parents=True)
    file.write_text(STAND_IN)
    return tmp_path / 'clone'


@pytest.fixture
def compare(run: Any, release: Path) -> Iterator[Any]:
    threads = torch.get_num_threads()
    yield lambda *arguments: run(tool, '--release', str(release), *SMALL, *arguments)
    torch.set_num_threads(threads)


def test_table_and_numbers(tmp_path: Path, compare: Any) -> None:
    out = tmp_path / 'new' / 'numbers.json'
    printed = compare('--out', out).out
    assert 'released / ours' in printed and 'Losses agree within' in printed
    results = json.loads(out.read_text())['results']
    assert [result['objects'] for result in results] == [1, 3]
    for result in results:
        assert max(result['agreement'].values()) < 1e-5
        assert result['ratio'] > 0 and all(value > 0 for value in result['bytes'].values())


def test_the_file_alone_may_be_named(release: Path) -> None:
    modules = set(sys.modules)
    assert tool.load_release(str(release / tool.FILE)).__name__ == 'FeatureLoss'
    assert not {name for name in set(sys.modules) - modules if name.startswith(('mmcv', 'kd_plugins_released'))}


def test_both_sides_train_every_tensor(release: Path) -> None:
    args = tool.parser().parse_args(['--release', str(release), *SMALL])
    for side in (tool.Ours(args, 3), tool.Released(args, 3, tool.load_release(args.release))):
        side.step()
        assert len(side.gradients()) == 5 and all(grad.isfinite().all() and grad.any() for grad in side.gradients())
        assert all(weight.grad is not None for weight in side.weights if weight.numel() > 1)


def test_a_difference_is_found(release: Path) -> None:
    args = tool.parser().parse_args(['--release', str(release), *SMALL])
    released = tool.Released(args, 3, tool.load_release(args.release))
    released.modules[0].factors[0] *= 2
    with pytest.raises(KDPluginsError, match='the two sides differ: the loss by'):
        tool.compare({'ours': tool.Ours(args, 3), 'released': released})


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        (None, r"--release: '.*fgd.py' does not exist; give a clone of yzd-v/FGD"),
        ('import no_such_module', 'cannot be executed: ModuleNotFoundError'),
        ('x = 1', 'defines no FeatureLoss'),
    ],
)
def test_what_is_no_release(tmp_path: Path, text: str | None, match: str) -> None:
    file = tmp_path / 'fgd.py'
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=match):
        tool.load_release(str(file))


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--repeats', '0'], '--repeats is 0; nearest: 1'),
        (['--channels', '1'], '--channels is 1; nearest: 2'),
        (['--objects', '0', '3'], '--objects is 0; nearest: 1'),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str, compare: Any) -> None:
    done = compare(*arguments)
    assert done.status == 2 and done.err == f'error: {sentence}\n'
