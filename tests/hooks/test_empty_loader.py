"""Trainings without a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.empty_loader import EmptyLoaderCheck
from tests.hooks.tiny_runs import Points, make_runner


def test_a_loader_without_a_batch_is_refused_before_the_first_step(tmp_path: Path) -> None:
    """``drop_last`` with fewer images than ``batch_size``: MMEngine trains nothing and saves a checkpoint."""
    loader = DataLoader(Points(), batch_size=9, drop_last=True)
    runner = make_runner(tmp_path / 'run', [EmptyLoaderCheck()], train_dataloader=loader)
    with pytest.raises(ConfigError, match='^train_dataloader gives no batch; check .* batch_size and drop_last$'):
        runner.train()
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_other_loaders_train(tmp_path: Path) -> None:
    runner = make_runner(tmp_path / 'run', [EmptyLoaderCheck()])
    runner.train()
    assert runner.iter > 0
