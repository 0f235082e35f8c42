"""Base class of all teachers: a model in eval mode, without gradient, that changes only by its own rule."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, check_known

MODES = ('tensor', 'loss', 'predict', 'extract_feat')


class BaseTeacher:
    """A network that teaches the student.

    A teacher is not an ``nn.Module``, so that no optimizer, DDP reducer, EMA hook or checkpoint of the student finds it.

    Args:
        mode: How the network runs on the student's inputs: a ``mode`` of the OpenMMLab model (``'tensor'``, ``'loss'``,
            ``'predict'``) or ``'extract_feat'``, which stops after the neck and is enough for feature taps.
        key: Config key of the teacher, for error sentences.

    Raises:
        ConfigError: If ``mode`` is none of these.
    """

    after_student = False
    """Whether the teacher runs after the student's forward pass and reuses its results, or before it."""

    def __init__(self, mode: str = 'tensor', key: str = 'teacher') -> None:
        self.key = key
        self.mode = check_known(f'{key}.mode', mode, MODES)
        self.frozen: dict[str, nn.Module] = {}
        """Modules of the student that never change in this run, by name; the hook sets them before :meth:`prepare`."""
        self._model: nn.Module | None = None

    @property
    def model(self) -> nn.Module:
        """The network, after :meth:`prepare`."""
        if self._model is None:
            raise ConfigError(f'{self.key}: {type(self).__name__} was asked for its model before training began')
        return self._model

    @property
    def ready(self) -> bool:
        """Whether the teacher can teach yet. While it cannot, the weight of its distillers is 0."""
        return True

    def prepare(self, student: nn.Module, iteration: int = 0, epoch: int = 0) -> None:
        """Create the network; called once per run, after the student has loaded or resumed its weights.

        Args:
            student: The student network.
            iteration: 0-based iteration at which training begins, not 0 in a resumed run.
            epoch: 0-based epoch at which training begins.
        """
        raise ConfigError(f'{self.key}: {type(self).__name__} must define prepare(...)')

    def before_student(self) -> None:
        """Prepare for a run after the student; called before its forward pass where :attr:`after_student` is true."""

    def forget(self) -> None:
        """Drop everything that :meth:`before_student` keeps."""

    def after_iter(self, student: nn.Module, iteration: int) -> None:
        """Update the teacher after the optimizer step of ``iteration`` (0-based)."""

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Update the teacher after ``epoch`` (0-based)."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run cannot recompute."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`; called after :meth:`prepare`."""

    def _adopt(self, model: nn.Module) -> None:
        self._model = model.eval().requires_grad_(False)

    def _copy_of(self, student: nn.Module) -> None:
        self._adopt(copy.deepcopy(student))
        # The copy holds the student's gradients, which nobody needs.
        self.model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the network on the arguments of the student's forward call, while its taps record.

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
    """Return a copy of inputs that a network may write into, as MMDetection3D's pillar encoders write into their voxels.

    A single tensor is an image batch, which no network of OpenMMLab changes, and is returned unchanged.

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
