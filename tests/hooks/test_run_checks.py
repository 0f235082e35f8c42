"""Checks before the first iteration: wrappers, lengths of epochs, and schedules and teachers that never begin."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.loop_epochs import epoch_length
from kd_plugins.hooks.run_checks import check_begins, student_of
from kd_plugins.hooks.task_weights import TaskWeights
from kd_plugins.hooks.unlabelled import Unlabelled
from kd_plugins.teachers import BaseTeacher, EMATeacher
from tests.hooks.tiny_runs import Points, TinyGap, TinyStudent
from tests.hooks.unlabelled_runs import images

BY_EPOCH = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 3, 'by_epoch': True}


class Stream(IterableDataset[int]):
    """A data set without a length."""

    def __iter__(self) -> Any:
        return iter(range(4))


def check(
    *distillers: TinyGap,
    loader: Any = None,
    max_iters: int = 8,
    teacher: BaseTeacher | None = None,
    config: Config | None = None,
    task_weights: TaskWeights | None = None,
    unlabelled: Unlabelled | None = None,
    **others: BaseTeacher,
) -> None:
    """Check distillers of which the first is called ``gap``."""
    loader = DataLoader(Points(), batch_size=2) if loader is None else loader
    logger = logging.getLogger('kd_plugins.tests')
    runner = SimpleNamespace(
        train_dataloader=loader, iter=0, max_iters=max_iters, logger=logger, cfg=config or Config()
    )
    members = dict(zip(('gap', 'other'), distillers))
    teachers = {} if teacher is None else {'teacher': teacher}
    check_begins(runner, members, {**teachers, **others}, epoch_length(runner), unlabelled, task_weights)


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
    loader = DataLoader(Stream())
    check(TinyGap(), loader=loader)
    with pytest.raises(ConfigError, match='distillers.gap.weight.by_epoch is True, but train_dataloader has no length'):
        check(TinyGap(weight=BY_EPOCH), loader=loader)
    for config, key in ((BY_EPOCH, 'task_weight'), ({'loss_*': BY_EPOCH}, r'task_weight\.loss_\*')):
        with pytest.raises(ConfigError, match=f'^default_hooks.distill.{key}.by_epoch is True, but train_dataloader'):
            check(TinyGap(), loader=loader, task_weights=TaskWeights(config))


IDLE = 'distillers.gap.weight begins at epoch 3, and the run has 12 iterations (4 in an epoch)'


@pytest.mark.parametrize(('max_iters', 'idle'), [(12, True), (13, False), (100_000, False)])
def test_a_schedule_that_never_begins(max_iters: int, idle: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Another distiller teaches, so it is a warning."""
    check(TinyGap(weight=BY_EPOCH), TinyGap(), max_iters=max_iters)
    assert (IDLE in caplog.text) == idle == bool(caplog.text)


def test_a_run_in_which_nothing_is_taught(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match='weight begins at epoch 3, and the run has 12 iterations'):
        check(TinyGap(weight=BY_EPOCH), TinyGap(weight=0.0), max_iters=12)
    with pytest.raises(ConfigError, match='teacher.begin is 8 iterations and the run ends after 8'):
        check(TinyGap(), TinyGap(), teacher=EMATeacher(begin=8))
    check(TinyGap(weight=0.0))
    assert not caplog.text


STOP = {'type': 'kd_plugins.Stop', 'value': 1.0, 'end': 3}


def test_weights_that_are_never_above_zero_together(caplog: pytest.LogCaptureFixture) -> None:
    late = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 3}
    gap = TinyGap(weight=STOP)
    gap.on = 'unlabelled'
    with pytest.raises(ConfigError, match=r'distillers.gap.weight times unlabelled.weight is 0 in every iteration'):
        check(gap, unlabelled=Unlabelled(images(weight=late)))
    check(gap, unlabelled=Unlabelled(images(weight={**late, 'begin': 2})))
    with pytest.raises(ConfigError, match='gap.weight is 0 from iteration 3 on, and teacher is not ready before'):
        check(TinyGap(weight=STOP), teacher=EMATeacher(begin=3))
    check(TinyGap(weight=STOP), teacher=EMATeacher(begin=2))
    assert not caplog.text


def test_a_weight_of_a_few_iterations_is_seen() -> None:
    check(TinyGap(weight={**STOP, 'begin': 15, 'end': 17}), max_iters=10_000)


def test_a_second_teacher_that_never_begins() -> None:
    gap = TinyGap(source='teacher')
    gap.others = ('late',)
    check(gap, teacher=EMATeacher(), late=EMATeacher(begin=7))
    with pytest.raises(ConfigError, match='begin is 8 iterations and the run ends after 8'):
        check(gap, teacher=EMATeacher(), late=EMATeacher(begin=8))


def test_a_teacher_that_is_late_for_some_distillers_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    check(TinyGap(), TinyGap(source='student'), teacher=EMATeacher(begin=8))
    assert caplog.text.count('teacher.begin is 8 iterations and the run ends after 8') == 1


@pytest.mark.parametrize(
    ('plan', 'enough'), [('max_iters=40', True), ('by_epoch=True, max_epochs=6', True), ('max_iters=20', False)]
)
def test_a_run_that_was_shortened(tmp_path: Path, caplog: pytest.LogCaptureFixture, plan: str, enough: bool) -> None:
    """A trial of a few iterations is not refused; its config file trains for long enough."""
    (tmp_path / 'config.py').write_text(f'train_cfg = dict({plan})\n', encoding='utf-8')
    config = Config.fromfile(tmp_path / 'config.py')
    config.merge_from_dict({'train_cfg.max_iters': 10})
    late = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 20}
    for distiller, teacher, sentence in (
        (TinyGap(), EMATeacher(begin=20), 'teacher.begin is 20 iterations and the run ends after 10'),
        (TinyGap(weight=late), None, 'distillers.gap.weight begins at iteration 20'),
    ):
        if not enough:
            with pytest.raises(ConfigError, match=sentence):
                check(distiller, teacher=teacher, config=config, max_iters=10)
            continue
        caplog.clear()
        check(distiller, teacher=teacher, config=config, max_iters=10)
        assert len(caplog.records) == 1 and sentence in caplog.text
