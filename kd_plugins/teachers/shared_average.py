"""The average of MMEngine's ``EMAHook`` as the network of a teacher, without a second copy of the weights."""

from __future__ import annotations

from dataclasses import dataclass

from mmengine.model import BaseAveragedModel
from torch import nn

from ..errors import ConfigError
from ..utils.device import device_of
from .student_copy import check_copyable
from .tensor_slots import NetworkPair

ALONE = 'nearest: share=None, which keeps an average of its own'


@dataclass(frozen=True)
class SharedAverage:
    """The average that ``EMAHook`` keeps, evaluates and saves.

    Attributes:
        averaged: MMEngine's averaged model.
        begin: Iteration at which the average begins as a copy of the student.
        epoch_length: Iterations of an epoch.
    """

    averaged: BaseAveragedModel
    begin: int
    epoch_length: int = 1

    def network(self, student: nn.Module, key: str) -> nn.Module:
        """Return the averaged network, after checks.

        ``EMAHook`` copies the student before the student has its initial weights. It takes the weights of the student
        over in its first update, which is after the first iteration. The same copy is made here, so that the average
        can be used in that iteration.

        Args:
            student: The student, with its weights.
            key: Config key of the teacher, for error sentences.

        Raises:
            ConfigError: If the average lies on another device, or would run layers of the student.
        """
        network: nn.Module = self.averaged.module
        theirs, mine = (device_of(module) for module in (student, network))
        if theirs != mine:
            raise ConfigError(
                f"{key}.share is 'EMAHook', whose average is on '{mine}', and the student is on '{theirs}'; nearest: "
                'an EMAHook without device'
            )
        try:
            check_copyable(network, key, '')
        except ConfigError as error:
            raise ConfigError(
                f"{key}.share is 'EMAHook', whose copy of the student has foreign hooks or a foreign forward, so it "
                f'would run or record the student itself; {ALONE}'
            ) from error
        if int(self.averaged.steps) == 0:
            NetworkPair(network, student).copy()
        return network

    def check_begin(self, begin: int, by_epoch: bool, key: str) -> None:
        """Refuse a teacher that begins before the average.

        Args:
            begin: Iteration or epoch at which the teacher begins.
            by_epoch: Whether ``begin`` counts epochs.
            key: Config key of the teacher.

        Raises:
            ConfigError: If the teacher would be the student itself at first.
        """
        first = begin * self.epoch_length if by_epoch else begin
        if first >= self.begin:
            return
        needed = -(-self.begin // self.epoch_length) if by_epoch else self.begin
        unit = 'epoch' if by_epoch else 'iteration'
        raise ConfigError(
            f'{key}.begin is {unit} {begin}, and the average of EMAHook begins at iteration {self.begin}, before which '
            f'it is the student itself; nearest: begin={needed}'
        )
