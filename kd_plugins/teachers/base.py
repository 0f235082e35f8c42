"""What every teacher is: a model that runs in eval mode without gradient and changes only by its own rule."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, check_known

MODES = ('tensor', 'loss', 'predict', 'extract_feat')


class BaseTeacher:
    """A teacher network beside the student.

    It is no ``nn.Module``, so that no optimizer, DDP reducer, EMA hook or checkpoint of the student can find it.

    Args:
        mode: What is run on the student's inputs: a ``mode`` of the OpenMMLab model (``'tensor'``, ``'loss'``,
            ``'predict'``) or ``'extract_feat'``, which stops after the neck and is enough for feature taps.

    Raises:
        ConfigError: If ``mode`` is none of these.
    """

    after_student = False
    """Whether it runs after the student's forward pass, on what that has computed, and not before it."""

    def __init__(self, mode: str = 'tensor') -> None:
        self.mode = check_known('teacher.mode', mode, MODES)
        self.frozen: dict[str, nn.Module] = {}
        """The student's modules that never change in this run, by name; the hook sets them before :meth:`prepare`."""
        self._model: nn.Module | None = None

    @property
    def model(self) -> nn.Module:
        """The network, after :meth:`prepare`."""
        if self._model is None:
            raise ConfigError(f'teacher: {type(self).__name__} was asked for its model before training began')
        return self._model

    @property
    def ready(self) -> bool:
        """Whether there is something to learn from yet; a distiller counts 0 while there is not."""
        return True

    def prepare(self, student: nn.Module, iteration: int = 0, epoch: int = 0) -> None:
        """Make the network; called once per run, after the student has loaded or resumed its weights.

        Args:
            student: The student network.
            iteration: 0-based iteration at which training begins, not 0 in a resumed run.
            epoch: 0-based epoch at which training begins.
        """
        raise ConfigError(f'teacher: {type(self).__name__} must define prepare(...)')

    def before_student(self) -> None:
        """Get ready to run after the student; called before its forward pass where :attr:`after_student` is true."""

    def forget(self) -> None:
        """Drop what :meth:`before_student` keeps."""

    def after_iter(self, student: nn.Module, iteration: int) -> None:
        """Follow the student after the optimizer step of ``iteration`` (0-based)."""

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Follow the student after ``epoch`` (0-based)."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run cannot recompute."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave; called after :meth:`prepare`."""

    def _adopt(self, model: nn.Module) -> None:
        self._model = model.eval().requires_grad_(False)

    def _copy_of(self, student: nn.Module) -> None:
        # After the copy no `.grad` of the student lives on in it.
        self._adopt(copy.deepcopy(student))
        self.model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the network on the arguments of the student's forward call; its taps record the rest.

        Args:
            args: Positional arguments of the student's ``forward``.
            kwargs: Keyword arguments of the student's ``forward``.
        """
        self.model.eval()
        names = ('inputs', 'data_samples', 'mode')
        call = {**dict(zip(names, args)), **kwargs}
        call['inputs'] = own_copy(call.get('inputs'))
        if self.mode == 'extract_feat':
            self.model.extract_feat(call['inputs'])  # type: ignore[operator]
            return
        call['mode'] = self.mode
        self.model(**call)


def own_copy(inputs: Any) -> Any:
    """Return inputs that a network may change: MMDetection3D's pillar encoders write into the voxels that they get.

    A tensor alone is an image batch, which no network of OpenMMLab changes, and is returned as it is.

    >>> voxels = torch.zeros(2)
    >>> own_copy({'voxels': {'coors': voxels}})['voxels']['coors'].add_(1), voxels
    (tensor([1., 1.]), tensor([0., 0.]))
    """
    if isinstance(inputs, Mapping):
        return {key: _cloned(value) for key, value in inputs.items()}
    return inputs


def _cloned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _cloned(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cloned(entry) for entry in value]
    return value.clone() if isinstance(value, Tensor) else value


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and persistent buffer by name, without copying (the live tensors of ``state_dict``).

    >>> sorted(tensors_of(nn.Linear(2, 1)))
    ['bias', 'weight']
    """
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
