"""Saving and resuming a teacher while its student trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from kd_plugins.teachers import BaseTeacher
from tests.teachers.networks import TinyNet, same, step


def check_resuming(make: Callable[[], BaseTeacher], folder: Path) -> None:
    """Fail unless a teacher that was saved and loaded follows the student as one that was not.

    Args:
        make: Builds the teacher.
        folder: An empty folder.
    """
    student = TinyNet()
    teacher = make()
    teacher.prepare(student)
    for iteration in range(3):
        step(student)
        teacher.after_step(student, iteration)
        teacher.after_epoch(student, iteration)
    torch.save(teacher.state_dict(), folder / 'teacher.pth')
    resumed = make()
    resumed.prepare(student, iteration=3, epoch=3)
    resumed.load_state_dict(torch.load(folder / 'teacher.pth', weights_only=True))
    for iteration in range(3, 6):
        step(student)
        for one in (teacher, resumed):
            one.after_step(student, iteration)
            one.after_epoch(student, iteration)
        assert same(teacher.model, resumed.model)
