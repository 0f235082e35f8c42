"""Shuffled teachers: whose outputs an image is taught with, which batches are skipped, and a resumed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.hooks.session import DistillSession
from kd_plugins.hooks.shuffled_teachers import ShuffledTeachers
from kd_plugins.teachers import EMATeacher
from kd_plugins.utils.calls import ForwardCall
from tests.hooks.tiny_runs import EMA, GAP, Points, TinyGap, TinyStudent, loader_of, losses_of, make_runner
from tests.hooks.unlabelled_runs import NormedStudent
from tests.ranks import on_two_ranks

IMAGES = torch.arange(10.0).view(5, 2)
KEY = 'distill.gap.loss_gap'
CONTROL = {**EMA, 'shuffled': True}


class Kept(TinyGap):
    """Keeps what it compares."""

    def forward(self, student_outputs: Any, teacher_outputs: Any, batch: Any) -> dict[str, Tensor]:
        self.kept = student_outputs['tap'][0].detach(), teacher_outputs['tap'][0]
        return super().forward(student_outputs, teacher_outputs, batch)


def attached(teachers: dict[str, EMATeacher]) -> DistillSession:
    torch.manual_seed(0)
    student = TinyStudent()
    student.dropout.p = 0.0
    for teacher in teachers.values():
        teacher.prepare(student)
    distillers = {'gap' if name == 'teacher' else name: Kept(source=name) for name in teachers}
    session = DistillSession(student, distillers, teachers, lambda: None)
    session.weights = dict.fromkeys(distillers, 1.0)
    return session


@pytest.mark.parametrize('after_student', [False, True])
def test_each_image_is_taught_with_the_outputs_for_another_one(after_student: bool) -> None:
    teachers = {'teacher': EMATeacher(), 'other': EMATeacher(), 'usual': EMATeacher()}
    for name in ('teacher', 'other'):
        teachers[name].shuffled, teachers[name].after_student = True, after_student
    session = attached(teachers)
    distillers = dict(session.distillers.items())
    orders = []
    for session.iteration in range(3):
        session.student(IMAGES, None, mode='loss')
        for name in ('gap', 'other', 'usual'):
            mine, theirs = distillers[name].kept  # the weights are equal
            (*order,) = (int((mine == row).all(1).nonzero()) for row in theirs)
            if name == 'usual':
                assert order == [0, 1, 2, 3, 4], 'the teacher after a shuffled one sees the batch as it is'
            else:
                assert all(place != old for place, old in enumerate(order))
                orders.append(tuple(order))
    assert len(set(orders)) > 1, 'iterations and teachers have orders of their own'


def test_a_batch_of_one_image_is_skipped() -> None:
    teachers = {'teacher': EMATeacher(), 'usual': EMATeacher()}
    teachers['teacher'].shuffled = True
    session, runs = attached(teachers), []
    session.student(IMAGES, None, mode='loss')
    teachers['teacher'].model.first.register_forward_pre_hook(lambda *call: runs.append('teacher'))
    with torch.no_grad():
        teachers['teacher'].model.second.bias.add_(1)
        teachers['usual'].model.second.bias.add_(1)
    losses = session.student(IMAGES[:1], None, mode='loss')
    assert losses[KEY] == 0 and losses['distill.usual.loss_gap'] > 0 and not runs
    assert session.student(IMAGES[:2], None, mode='loss')[KEY] > 0 and runs


def test_batches_of_one_image_are_refused(tmp_path: Path) -> None:
    hook = DistillHook({'gap': GAP}, teacher=CONTROL)
    runner = make_runner(tmp_path, [hook])
    runner._train_dataloader['batch_size'] = 1
    with pytest.raises(
        ConfigError, match=r'teacher\.shuffled needs another image .* set train_dataloader.batch_size=2'
    ):
        runner.train()
    with pytest.raises(ConfigError, match=r'teacher\.shuffled'):
        DistillHook({'gap': GAP}, teacher={**EMA, 'shuffled': 3})


def _taught() -> tuple[list[list[int]], list[float]]:
    """Return this rank's orders in three iterations, and its losses with 2 images each and with 2 and 1 of them."""
    teachers = {'teacher': EMATeacher()}
    teachers['teacher'].shuffled = True
    session = attached(teachers)
    kept, orders = dict(session.distillers.items())['gap'], []
    for session.iteration in range(3):
        session.student(IMAGES, None, mode='loss')
        mine, theirs = kept.kept
        orders.append([int((mine == row).all(1).nonzero()) for row in theirs])
    with torch.no_grad():
        teachers['teacher'].model.second.bias.add_(1)
    counts = 2, 2 - dist.get_rank()
    return orders, [float(session.student(IMAGES[:count], None, mode='loss')[KEY]) for count in counts]


def test_two_ranks_have_orders_of_their_own_and_skip_a_batch_together(tmp_path: Path) -> None:
    (first, losses), (second, others) = on_two_ranks(tmp_path, _taught)
    assert all(place != old for order in (*first, *second) for place, old in enumerate(order))
    assert first != second, 'the rank is part of the seed'
    assert losses[0] > 0 and others[0] > 0
    assert losses[1] == others[1] == 0, 'a rank with two images does not wait for one that has a single one'


def test_pseudo_labels_keep_the_samples_of_the_student() -> None:
    teacher = EMATeacher()
    teacher.shuffled = True
    call = ForwardCall(NormedStudent().forward, (IMAGES, list('abcde')), {'mode': 'loss'})
    shuffled, step = ShuffledTeachers({'teacher': teacher}), (4, 0, 1, 9)
    order = shuffled.order('teacher', 5, 'unlabelled', step)
    with_samples = shuffled.arguments('teacher', 'unlabelled', call, step)
    assert order is not None and with_samples['data_samples'] == ['abcde'[place] for place in order]
    without = shuffled.arguments('teacher', 'unlabelled', call, step, samples=False)
    assert torch.equal(without['inputs'], IMAGES[order]) and without['data_samples'] == list('abcde')
    assert shuffled.order('teacher', 5, 'labelled', step) != order
    assert ShuffledTeachers({'teacher': EMATeacher()}).order('teacher', 5, 'labelled', step) is None


def test_a_resumed_run_has_the_same_orders(tmp_path: Path) -> None:
    def losses(folder: str, shuffled: bool = True, **settings: Any) -> list[Any]:
        hook = DistillHook({'gap': GAP}, teacher={**EMA, 'shuffled': shuffled})
        loader = loader_of(Points(), batch_size=4)
        return losses_of(tmp_path / folder, [EpochSeedHook(), hook], epochs=3, train_dataloader=loader, **settings)

    whole = losses('whole')
    losses('cut', stop_at=3)
    assert losses('cut', resume=True) == whole[2:]
    usual = losses('usual', shuffled=False)
    assert [one[KEY] for one in usual] != [one[KEY] for one in whole]
    assert usual[0]['loss_task'] == whole[0]['loss_task'], 'no random number of the run is drawn'
