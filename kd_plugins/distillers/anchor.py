"""Anchors: parameters that stay near their start, or near the values of an earlier task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints import load_checkpoint, weights_of
from ..errors import CheckpointError, ConfigError
from ..losses.anchor import anchor_penalty, relative_drift
from ..ops.class_rows import is_class_major, rows_by_class
from ..ops.fisher import information_of
from ..registry import MODELS
from ..tap_paths import PARAMETERS, TapPath, check_parameter_taps
from ..taps import match_parameters
from ..utils.argument_types import shown
from ..utils.checks import check_choice, check_flag
from ..utils.node_ranks import first_on_node_first
from ..utils.urls import is_url
from .base import BaseDistiller, Batch, Taps

METHODS = ('l2', 'ewc')


@MODELS.register_module()
class ParameterAnchor(BaseDistiller):
    r"""Squared distance of parameters from the values that they should keep.

    .. math:: \texttt{loss\_anchor} = \sum_j F_j (\theta_j - \theta^0_j)^2

    ``'l2'`` has :math:`F = 1` (L2-SP, arXiv 1802.01483), ``'ewc'`` the Fisher information of an earlier task (EWC,
    arXiv 1612.00796). The penalty is a loss, so an optimizer with decoupled weight decay, such as AdamW, still decays
    towards 0. Parameters without gradient (``frozen_stages``) do not count. Buffers, such as the statistics of
    BatchNorm, have no anchor.

    The anchor is ``checkpoint``, else the teacher ``source``, else the start of the run, after ``load_from``. Only the
    last one is part of the state in ``checkpoint['distill']``; a file is read again in a resumed run.

    Args:
        parameters: Tap of the parameters, ``'param:PATH'``, or a list of taps; each parameter counts once.
        method: ``'l2'``, or ``'ewc'``, which needs a ``checkpoint`` of a run with
            :class:`~kd_plugins.hooks.FisherHook`.
        checkpoint: Path or URL of the checkpoint of an earlier task, or None.
        normalize: Whether the information is divided by its mean over all anchored entries, so that weights of
            ``'ewc'`` and ``'l2'`` are comparable; only for ``'ewc'``.
        classes: Names of the classes of the student's head, in the order of its rows. A layer of the head with other
            classes than in the checkpoint, which names its own, is anchored in the rows of the classes that both know
            (:func:`~kd_plugins.ops.class_rows.rows_by_class`). None: such a layer is refused.
        source: ``'student'``, or the name of a teacher whose parameters are the anchor. A teacher with no other tap
            does not run.
        weight, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_anchor',)
    reads_parameters = True

    def __init__(
        self,
        parameters: str | list[str] = 'param:backbone.**',
        method: str = 'l2',
        checkpoint: str | None = None,
        normalize: bool = False,
        classes: list[str] | None = None,
        weight: float | dict[str, Any] = 1.0,
        source: str | list[str] = 'student',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, source, key)
        paths = check_parameter_taps(key, parameters)
        self.paths = {f'parameters{index or ""}': path for index, path in enumerate(paths)}
        self.method = check_choice(f'{key}.method', method, METHODS)
        self.normalize = check_flag(f'{key}.normalize', normalize)
        self.checkpoint = checkpoint
        self.classes = classes
        self._check_together()
        self._names: dict[str, dict[int, str]] = {}
        """Alias of each tap to position and name of the parameters that it is the first to name."""
        self._last: tuple[list[Tensor], list[Tensor]] | None = None
        """Parameters and anchors of the last batch, without graph."""

    def _check_together(self) -> None:
        key, source = self.key, self.source
        if self.method == 'ewc' and self.checkpoint is None:
            raise ConfigError(
                f"{key}.checkpoint is None with method='ewc', whose information is in the checkpoint of an earlier "
                "task trained with kd_plugins.FisherHook; give its path, or use method='l2'"
            )
        if self.normalize and self.method != 'ewc':
            raise ConfigError(
                f"{key}.normalize is True with method='l2', where every entry counts alike; use normalize=False or "
                "method='ewc'"
            )
        if self.classes is not None and self.checkpoint is None:
            raise ConfigError(
                f'{key}.classes is {shown(self.classes)} without a checkpoint, whose classes they are compared with; '
                'give checkpoint, or use classes=None'
            )
        if source == 'auto' or (source != 'student' and self.checkpoint is not None):
            found = f"and checkpoint '{self.checkpoint}'" if source != 'auto' else 'and an anchor is one or the other'
            raise ConfigError(
                f"{key}.source is '{source}' {found}; valid: source='student' for a checkpoint or the start of the "
                'run, or the name of a teacher without a checkpoint'
            )

    def student_taps(self) -> dict[str, str]:
        """Return the taps of the parameters."""
        return self.paths

    def teacher_taps(self) -> dict[str, str]:
        """Return the same taps where a teacher is the anchor, else none."""
        return {} if self.source == 'student' else self.paths

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Keep the names of the parameters, compare them with those of a teacher, and read the checkpoint."""
        known: set[int] = set()
        trained: dict[str, nn.Parameter] = {}
        self._names = {}
        for alias, path in self.paths.items():
            key, names = f'{self.key}.{alias}', TapPath.parse(path, self.key).module
            matched = match_parameters(student, names, key)
            if teacher is not student:
                self._check_teacher(matched, match_parameters(teacher, names, key, 'teacher'), key)
            self._names[alias] = {at: name for at, (name, one) in enumerate(matched) if id(one) not in known}
            known |= {id(one) for _, one in matched}
            trained.update({name: one for name, one in matched if one.requires_grad})
        if self.checkpoint is not None:
            self._read(self.checkpoint, trained)

    def _check_teacher(
        self, mine: Sequence[tuple[str, nn.Parameter]], theirs: Sequence[tuple[str, nn.Parameter]], key: str
    ) -> None:
        for (name, one), (other_name, other) in zip(mine, theirs):
            if name != other_name or one.shape != other.shape:
                raise ConfigError(
                    f"{key}: the student has '{name}' of shape {tuple(one.shape)} where the teacher has '{other_name}' "
                    f'of shape {tuple(other.shape)}; leave it out, or name a part that both have'
                )
        if len(mine) != len(theirs):
            raise ConfigError(
                f'{key}: the student has {len(mine)} such parameters and the teacher {len(theirs)}; name a part that '
                'both have'
            )

    def _read(self, path: str, parameters: Mapping[str, nn.Parameter]) -> None:
        key = f'{self.key}.checkpoint'
        with first_on_node_first() if is_url(path) else nullcontext():
            checkpoint = load_checkpoint(path, key)
        subject = f"{key}: '{path}'"
        weights = weights_of(checkpoint)
        earlier = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes') or ()
        self._keep('anchor', weights, parameters, earlier, subject)
        informed = dict(parameters)
        if self.method == 'ewc':
            information = information_of(checkpoint, subject)
        else:
            # Rows of new classes have no anchor, hence the information 0.
            informed = {name: one for name, one in parameters.items() if weights[name].shape != one.shape}
            information = {name: torch.ones_like(weights[name]) for name in informed}
        zeros = {name: torch.zeros_like(one) for name, one in informed.items()}
        self._keep('information', information, zeros, earlier, subject)
        if self.normalize:
            values = [self.get_buffer(_buffer('information', name)) for name in zeros]
            mean = sum(float(one.double().sum()) for one in values) / max(sum(one.numel() for one in values), 1)
            if not mean > 0.0:
                raise CheckpointError(f'{subject}: its Fisher information is 0 everywhere; use normalize=False')
            for one in values:
                one /= mean

    def _keep(
        self,
        kind: str,
        saved: Mapping[str, Tensor],
        parameters: Mapping[str, Tensor],
        earlier: Sequence[str],
        subject: str,
    ) -> None:
        """Keep values of a checkpoint as buffers, in a layer with other classes in the rows that both know."""
        for name, own in parameters.items():
            value = saved.get(name)
            if value is not None and value.shape != own.shape and self.classes is not None and earlier:
                value = rows_by_class(value, own.cpu(), earlier, self.classes, is_class_major(name))
            if value is None or value.shape != own.shape:
                what = 'weights' if kind == 'anchor' else 'Fisher information'
                found = f'those of shape {tuple(saved[name].shape)}' if name in saved else 'none'
                raise CheckpointError(
                    f"{subject}: '{name}' of shape {tuple(own.shape)} needs {what}, and the file has {found}; name in "
                    f'{self.key}.parameters what both tasks have and train, such as {PARAMETERS}backbone.**, or give '
                    'classes for a head with new ones'
                )
            self.register_buffer(_buffer(kind, name), value.detach().clone().float(), persistent=False)

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Keep the parameters at the start of the run, where these are the anchor."""
        if self.source == 'student' and self.checkpoint is None:
            for name, one in self._named(student_outputs).items():
                self.register_buffer(_buffer('anchor', name), one.detach().clone())

    def _named(self, outputs: Taps) -> dict[str, Tensor]:
        """Return name to parameter, each one once."""
        return {name: outputs[alias][at] for alias, names in self._names.items() for at, name in names.items()}

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_anchor``."""
        trained = {name: one for name, one in self._named(student_outputs).items() if one.requires_grad}
        if self.source == 'student':
            anchors = [self.get_buffer(_buffer('anchor', name)) for name in trained]
        else:
            named = self._named(teacher_outputs)
            anchors = [named[name] for name in trained]
        information = [self._buffers.get(_buffer('information', name)) for name in trained]
        values = list(trained.values())
        if not values:
            # All are frozen now. The zero lies on the device of the student.
            first = next(one for members in student_outputs.values() for one in members)
            return {'loss_anchor': first.new_zeros(())}
        self._last = ([one.detach() for one in values], list(anchors))
        return {'loss_anchor': anchor_penalty(values, anchors, information)}

    def monitors(self) -> dict[str, Tensor]:
        """Return ``drift``, the distance from the anchor relative to the norm of the anchor."""
        return {} if self._last is None else {'drift': relative_drift(*self._last)}


def _buffer(kind: str, name: str) -> str:
    """Return the name of a buffer, which holds no dot.

    >>> _buffer('anchor', 'backbone.conv1.weight')
    'anchor/backbone/conv1/weight'
    """
    return f'{kind}/{name.replace(".", "/")}'
