"""Checks before the first iteration: wrappers, lengths of epochs, and schedules that never begin."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.registry import MODEL_WRAPPERS
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.run_checks import check_schedules, student_of
from tests.hooks.tiny_runs import Points, TinyGap, TinyStudent

BY_EPOCH = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 3, 'by_epoch': True}


class Stream(IterableDataset[int]):
    """A data set without a length."""

    def __iter__(self) -> Any:
        return iter(range(4))


def runner_with(loader: Any, max_iters: int = 8) -> Any:
    return SimpleNamespace(train_dataloader=loader, max_iters=max_iters, logger=logging.getLogger('kd_plugins.tests'))


@pytest.mark.parametrize('name', ['MMFullyShardedDataParallel', 'MMDeepSpeedEngineWrapper', 'Sharded'])
def test_wrappers_without_a_whole_model_are_refused(name: str) -> None:
    wrapper = type(name, (nn.Module,), {})
    if name == 'Sharded':
        MODEL_WRAPPERS.register_module(module=wrapper, force=True)
    else:
        wrapper.module = TinyStudent()
    with pytest.raises(ConfigError, match=f"the model is wrapped in '{name}'.*nearest: 'MMDistributedDataParallel'"):
        student_of(SimpleNamespace(model=wrapper()))


def test_semi_supervised_detectors_are_refused() -> None:
    class SemiBaseDetector(nn.Module):
        pass

    class SoftTeacher(SemiBaseDetector):
        pass

    with pytest.raises(ConfigError, match="model.type is 'SoftTeacher', a semi-supervised detector.*model.detector"):
        student_of(SimpleNamespace(model=SoftTeacher()))


def test_a_loader_without_length() -> None:
    runner = runner_with(DataLoader(Stream()))
    check_schedules(runner, {'gap': TinyGap()})
    with pytest.raises(ConfigError, match='distillers.gap.weight.by_epoch is True, but train_dataloader has no length'):
        check_schedules(runner, {'gap': TinyGap(weight=BY_EPOCH)})


@pytest.mark.parametrize(('max_iters', 'idle'), [(12, True), (13, False), (100_000, False)])
def test_a_schedule_that_never_begins(max_iters: int, idle: bool, caplog: pytest.LogCaptureFixture) -> None:
    runner = runner_with(DataLoader(Points(), batch_size=2), max_iters)
    check_schedules(runner, {'gap': TinyGap(weight=BY_EPOCH), 'off': TinyGap(weight=0.0)})
    sentence = 'distillers.gap.weight begins at epoch 3, and the run has 12 iterations (4 in an epoch)'
    assert (sentence in caplog.text) == idle == bool(caplog.text)
