"""Shuffled teachers: a control in which each image is taught with the outputs for another image of its batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size

from ..errors import ConfigError
from ..ops.batch_order import cyclic_order, reordered
from ..teachers.base import BaseTeacher
from ..utils.calls import ForwardCall
from ..utils.rng import position_seed


class ShuffledTeachers:
    """The teachers of a run whose setting ``shuffled`` is true.

    Such a teacher sees the batch in another order, so every output that it gives at a place belongs to another image.
    The order is a function of the run's seed, the iteration, the rank and the teacher; a resumed run has the same.

    Args:
        teachers: Name to teacher.
    """

    def __init__(self, teachers: Mapping[str, BaseTeacher]) -> None:
        self._keys = {name: teacher.key for name, teacher in teachers.items() if teacher.shuffled}

    def without_another_image(self, sources: Mapping[str, Iterable[str | None]], call: ForwardCall) -> set[str]:
        """Return which distillers cannot be taught with a batch, because it is one image and their teacher is shuffled.

        They are the same on all ranks, those of the smallest batch: losses are divided by numbers of all ranks, so a
        rank that runs a distiller alone would wait for the others for ever. Every rank must call this.

        Args:
            sources: Name of each distiller to those of its teachers; ``None`` is the student itself.
            call: Arguments of the student.
        """
        if not self._keys or smallest_over_ranks(batch_size(call)) > 1:
            return set()
        return {name for name, teachers in sources.items() if any(one in self._keys for one in teachers)}

    def order(self, name: str, count: int, images: str, step: tuple[int, int, int, int]) -> list[int] | None:
        """Return the order in which a teacher sees a batch, ``None`` where it is the student's.

        Args:
            name: Name of the teacher.
            count: Number of images.
            images: ``'labelled'`` or ``'unlabelled'``.
            step: 0-based iteration and epoch, and seed and length of the run.

        Raises:
            ConfigError: If there is one image alone.
        """
        if name not in self._keys:
            return None
        if count < 2:
            owner = 'train_dataloader' if images == 'labelled' else 'unlabelled.dataloader'
            raise ConfigError(
                f'{self._keys[name]}.shuffled needs another image in every batch, and the batch of {images} images has '
                f'{count}; set {owner}.batch_size=2 or more'
            )
        iteration, _, seed, _ = step
        return cyclic_order(count, position_seed(seed, 'shuffled', name, images, iteration, get_rank()))

    def arguments(
        self, name: str, images: str, call: ForwardCall, step: tuple[int, int, int, int], samples: bool = True
    ) -> dict[str, Any]:
        """Return the arguments of a teacher for a call of the student.

        Args:
            name: Name of the teacher.
            images: ``'labelled'`` or ``'unlabelled'``.
            call: Arguments of the student, before its view.
            step: As in :meth:`order`.
            samples: Whether the data samples, which hold the size of each picture, come with their images. Pseudo
                labels keep those of the student, because they are given in the coordinates of its images.
        """
        order = self.order(name, batch_size(call), images, step)
        if order is None:
            return call.arguments()
        changes = {'inputs': reordered(call.inputs, order)}
        if samples and call.data_samples is not None:
            changes['data_samples'] = reordered(call.data_samples, order)
        return call.arguments(**changes)


def smallest_over_ranks(count: int) -> int:
    """Return the smallest of the numbers that the ranks have; every rank must call it.

    >>> smallest_over_ranks(3)
    3
    """
    if get_world_size() == 1:
        return count
    smallest = torch.tensor(count)
    all_reduce(smallest, op='min')
    return int(smallest)


def batch_size(call: ForwardCall) -> int:
    """Return the number of images of a call.

    >>> batch_size(ForwardCall(lambda inputs, data_samples: None, ([1, 2], None), {}))
    2
    """
    return len(call.inputs) if call.data_samples is None else len(call.data_samples)
