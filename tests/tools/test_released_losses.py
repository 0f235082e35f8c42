"""The comparison with MMRazor's losses, on stand-ins of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError, KDPluginsError

tool = import_module('tools.benchmark.released_losses')
SMALL = ['--size', '256', '384', '--scores', '4', '6', '--channels', '5', '--classes', '4', '--repeats', '1']
HEAD = """
import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS


def correlations(s, t):
    s, t = s - s.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
    return F.cosine_similarity(s, t)


def rows(x):
    return x.movedim(1, -1).flatten(0, -2)


def divergence(s, t):
    return F.kl_div(s.log_softmax(1), t.softmax(1), reduction='batchmean')


class Settings(torch.nn.Module):
    def __init__(self, tau=1.0, alpha=1.0, beta=1.0, alpha_mgd=1.0):
        super().__init__()
        self.tau, self.alpha, self.beta = tau, alpha, beta
"""
# Bodies of ``forward(self, s, t, labels)``.
STAND_INS = {
    'mgd_loss': 'return F.mse_loss(s, t, reduction="sum") / len(s)',
    'pkd_loss': """
        pairs = [[x.transpose(0, 1).flatten(1) for x in pair] for pair in zip(s, t)]
        return sum((1 - correlations(*pair).mean()) * (1 - 1 / pair[0].shape[1]) for pair in pairs)""",
    'cwd': """
        s, t = (x.flatten(0, 1).flatten(1) / self.tau for x in (s, t))
        return self.tau**2 * divergence(s, t)""",
    'kl_divergence': 'return self.tau**2 * s[0, 0].numel() * divergence(rows(s) / self.tau, rows(t) / self.tau)',
    'dist_loss': """
        s, t = (s / self.tau).softmax(1), (t / self.tau).softmax(1)
        return self.tau**2 * (2 - correlations(s, t).mean() - correlations(s.T, t.T).mean())""",
    'decoupled_kd': """
        s, t = (x / self.tau for x in (s, t))
        kept = F.one_hot(labels, s.shape[1]).bool()
        pairs = [torch.stack([x.softmax(1)[kept], 1 - x.softmax(1)[kept]], 1).log() for x in (s, t)]
        others = [x[~kept].view(len(x), -1) for x in (s, t)]
        return self.tau**2 * (self.alpha * divergence(*pairs) + self.beta * divergence(*others))""",
}
CLASSES = {case.file: case.name for case in tool.cases((64, 96), (4, 6), 5, 4).values()}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / 'clone' / tool.FOLDERS[0]
    folder.mkdir(parents=True)
    for file, body in STAND_INS.items():
        head = f'{HEAD}\n\n@MODELS.register_module()\nclass {CLASSES[file]}(Settings):\n'
        (folder / f'{file}.py').write_text(f'{head}    def forward(self, s, t, labels=None):\n        {body.strip()}\n')
    return tmp_path / 'clone'


@pytest.fixture
def compare(run: Any, release: Path) -> Iterator[Any]:
    threads = torch.get_num_threads()
    yield lambda *arguments: run(tool, '--release', str(release), *SMALL, *arguments)
    torch.set_num_threads(threads)


def test_table_and_numbers(tmp_path: Path, compare: Any) -> None:
    out = tmp_path / 'numbers.json'
    printed = compare('--out', out).out
    assert 'released / ours' in printed and 'Losses and gradients agree within' in printed
    results = json.loads(out.read_text())['results']
    assert len(results) == len(STAND_INS)
    for result in results:
        assert (
            result['difference'] < 1e-4 and result['ratio'] > 0 and all(size > 0 for size in result['bytes'].values())
        )


def first(student: Any, teacher: Any, labels: Any) -> Any:
    return student[0].square().sum()


def twice(student: Any, teacher: Any, labels: Any) -> Any:
    return 2 * student[0].square().sum()


def test_another_loss_is_refused() -> None:
    case = tool.cases((64, 96), (4, 6), 5, 4)['CWD']
    with pytest.raises(KDPluginsError, match='CWD: the two sides differ by'):
        tool.compare('CWD', *(tool.Side(loss, case, 'cpu') for loss in (first, twice)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'--release: .* holds no mmrazor/models/losses/cwd\.py'):
        tool.load_release(str(tmp_path), 'cwd', 'ChannelWiseDivergence')
