"""Label-guided self-distillation: a teacher made of the labels and the student's own maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, TapError
from ...head_loss import losses_on_maps
from ...registry import MODELS
from ...utils.checks import check_choice, check_flag, check_integer, check_number
from ...utils.loss_dicts import loss_sum
from ..base import BaseDistiller, Batch, Taps
from ..locations import positions_on_images
from .adapter import MapAdapter
from .instructor import GUIDES, Inside, Instructor
from .loss import BALANCES, label_guided_distance
from .objects import Objects
from .task import GuidedTask, TaskSettings
from .tasks import task_of


@MODELS.register_module()
class LabelGuidedDistiller(BaseDistiller):
    """Feature maps that know the labels teach those of the student, without another network (LGD, arXiv 2109.11496).

    An :class:`~kd_plugins.distillers.label_guided.Instructor` makes a pyramid of instructive maps from the ground truth
    and from the student's pyramid. Its objects are boxes or masks with classes for detectors, the regions of the
    classes for segmentors, and the joints for pose estimators. ``loss_head`` is the loss of the student's own head on
    these maps: it trains the instructor and the head, and through the appearance of the objects the layers before.
    ``loss_feat`` is :func:`~kd_plugins.distillers.label_guided.label_guided_distance` between three
    convolutions of the student's maps and the instructive maps, which get no gradient from it.

    Args:
        context: Whether each image is an object itself, whose embedding is added to the whole map.
        guide: What asks in the attention between objects: the ``'appearance'`` of the objects, which chooses
            embeddings of labels, or the ``'labels'``, which choose appearances.
        detach_appearance: Whether ``loss_head`` has no gradient to the layers before the student's maps. The release
            sets it for two-stage detectors.
        begin: Share of the run from which ``loss_feat`` teaches the student. Before it, and from ``end`` on, it trains
            its convolutions alone.
        end: Share of the run up to which ``loss_feat`` teaches the student.
        head_weight: Factor of ``loss_head``.
        feat_weight: Factor of ``loss_feat``; with 0 it is left out.
        level_balance: How the levels count in ``loss_feat``: by their ``'pixels'``, or all ``'levels'`` alike.
        masks: Whether the objects of a detector are their masks instead of their boxes.
        channels: Channels of the instructor and of the convolutions of ``loss_feat``, with a linear map before and
            after each level. None: those of the maps, which must then be the same in all levels.
        num_heads: Heads of the attention; they must divide the channels.
        encoder_width: Factor on the widths of the label encoder.
        reference: Whether cells, overlaps, sizes and padding are as in the released code.
        weight, key: See :class:`~kd_plugins.distillers.base.BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names: tuple[str, ...] = ('loss_feat', 'loss_head')

    def __init__(
        self,
        context: bool = True,
        guide: str = 'appearance',
        detach_appearance: bool = False,
        begin: float = 0.0,
        end: float = 1.0,
        head_weight: float = 1.0,
        feat_weight: float = 1.0,
        level_balance: str = 'pixels',
        masks: bool = False,
        channels: int | None = None,
        num_heads: int = 8,
        encoder_width: float = 1.0,
        reference: bool = False,
        weight: float | dict[str, Any] = 1.0,
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, 'student', key)
        self.context = check_flag(f'{key}.context', context)
        self.guide = check_choice(f'{key}.guide', guide, GUIDES)
        self.detach_appearance = check_flag(f'{key}.detach_appearance', detach_appearance)
        self.begin = check_number(f'{key}.begin', begin, positive=False, example=0.25)
        self.end = check_number(f'{key}.end', end, positive=True)
        self.head_weight = check_number(f'{key}.head_weight', head_weight, positive=True)
        self.feat_weight = check_number(f'{key}.feat_weight', feat_weight, positive=False)
        self.level_balance = check_choice(f'{key}.level_balance', level_balance, BALANCES)
        self.masks = check_flag(f'{key}.masks', masks)
        self.channels = channels
        if channels is not None:
            valid = 'valid: None, or a number of channels, such as 256'
            self.channels = check_integer(f'{key}.channels', channels, 1, valid, 256)
        self.num_heads = check_integer(f'{key}.num_heads', num_heads, 1, 'valid: a number of heads, such as 8', 256)
        self.encoder_width = check_number(f'{key}.encoder_width', encoder_width, positive=True)
        self.reference = check_flag(f'{key}.reference', reference)
        self._check_together()
        self.task: GuidedTask | None = None
        """Kind of the objects and of the losses, known after :meth:`check_models`."""
        self.maps = 'neck'
        """Path of the module whose outputs are the student's maps, known after :meth:`check_models`."""
        self.instructor: Instructor | None = None
        self.adapter: MapAdapter | None = None

    def _check_together(self) -> None:
        if not self.begin < self.end <= 1.0:
            raise ConfigError(
                f'{self.key}.begin is {self.begin} and {self.key}.end is {self.end}; both are shares of the run, such '
                'as begin=0.2 and end=1.0'
            )
        if self.encoder_width > 8:
            raise ConfigError(
                f'{self.key}.encoder_width is {self.encoder_width}; it is a factor of at most 8, such as 1.0'
            )
        given = {
            'begin': self.begin != 0.0,
            'end': self.end != 1.0,
            'level_balance': self.level_balance != BALANCES[0],
        }
        idle = next((name for name, changed in given.items() if changed), None)
        if self.feat_weight == 0 and idle is not None:
            raise ConfigError(
                f'{self.key}.{idle} is a setting of loss_feat, which {self.key}.feat_weight=0 leaves out; leave '
                f'{idle} out, or use feat_weight=1.0'
            )
        if self.feat_weight == 0:
            self.loss_names = ('loss_head',)

    @property
    def needs_labels(self) -> str | None:
        """Return that the maps are painted from them."""
        return "LabelGuidedDistiller teaches by labels; use on='labelled'"

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the maps that the student's head gets."""
        return {'maps': self.maps}

    def teacher_taps(self) -> dict[str, str]:
        """Return no taps: there is no other network."""
        return {}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Choose the task by the student's head, and find the module that makes its maps."""
        self.task = task_of(student, TaskSettings(self.key, self.context, self.masks, self.reference))
        self.maps = 'neck' if getattr(student, 'neck', None) is not None else 'backbone'

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check the maps and create the instructor and the adapter."""
        levels = self._levels(student_outputs)
        shapes = [tuple(level.shape) for level in levels]
        if not levels or any(level.ndim != 4 for level in levels):
            raise ConfigError(
                f"{self.key}: '{self.maps}' of the student gives {shapes}, and instructive maps are (N, C, H, W); "
                'nearest: FeatureDistiller with an EMATeacher'
            )
        channels = [shape[1] for shape in shapes]
        if self.channels is None and len(set(channels)) != 1:
            raise ConfigError(
                f"{self.key}.channels is None, and '{self.maps}' of the student gives {shapes}, with another number of "
                'channels in each level; use for example channels=256'
            )
        self._check_heads(self.channels or channels[0])
        assert self.task is not None
        self.instructor = Instructor(
            channels,
            self.task.descriptor_size,
            self.context,
            self.num_heads,
            self.encoder_width,
            self.guide,
            mean=not self.reference,
            inner=self.channels,
        ).to(levels[0].device)
        if self.feat_weight > 0:
            self.adapter = MapAdapter(channels, self.channels).to(levels[0].device)

    def _check_heads(self, channels: int) -> None:
        if channels % self.num_heads:
            valid = [heads for heads in range(1, 17) if channels % heads == 0]
            raise ConfigError(
                f'{self.key}.num_heads is {self.num_heads}, which does not divide the {channels} channels of the maps; '
                f'valid: {", ".join(map(str, valid))}'
            )

    def _levels(self, student_outputs: Taps) -> list[Tensor]:
        """Return the maps that the student's head reads."""
        assert self.task is not None
        maps = student_outputs['maps']
        return [maps[index] for index in self.task.levels(len(maps))]

    def insides(self, levels: Sequence[Tensor], batch: Batch) -> list[Inside]:
        """Return which cells of each level lie on the images, None for all; the release makes no difference.

        Args:
            levels: Maps, (N, C, H, W).
            batch: The batch.
        """
        if self.reference:
            return [None] * len(levels)
        found = positions_on_images(levels, batch)
        return [None if one is None else one.view(len(x), 1, *x.shape[2:]) for one, x in zip(found, levels)]

    def query_student(self, model: nn.Module, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> Taps:
        """Return the instructive maps, and the sum of the losses of the student's head on them."""
        assert self.instructor is not None and self.task is not None
        levels = [x.detach() if self.detach_appearance else x for x in self._levels(student_outputs)]
        objects = self.task.objects(batch, levels[0].detach())
        with torch.autocast(levels[0].device.type, enabled=False):
            maps = self.instructor(levels, objects, self.insides(levels, batch))
        # Maps that the head does not read stay the student's, and learn nothing here.
        given = [x.detach() for x in student_outputs['maps']]
        for index, x in zip(self.task.levels(len(given)), maps):
            given[index] = x
        try:
            losses = losses_on_maps(model, given, batch.inputs, batch.data_samples)
        except TapError as error:
            raise ConfigError(f'{self.key}: {error}; nearest: FeatureDistiller with an EMATeacher') from error
        counted = {name: value for name, value in losses.items() if self.task.counts(name)}
        taught = objects.valid.any(dim=1).to(levels[0].dtype)
        return {'instructive': maps, 'head': [loss_sum(counted)], 'taught': [taught]}

    def explained(self, student_outputs: Taps, batch: Batch) -> tuple[Objects, list[tuple[Tensor, Tensor]]]:
        """Return the objects of a batch, and for each level what each of them mixes and where it is painted.

        Args:
            student_outputs: Outputs of the student's taps.
            batch: The batch, with labels.

        Returns:
            The objects, and :meth:`Instructor.explained`.
        """
        assert self.instructor is not None and self.task is not None
        levels = self._levels(student_outputs)
        objects = self.task.objects(batch, levels[0].detach())
        return objects, self.instructor.explained(levels, objects, self.insides(levels, batch))

    def teaches(self, batch: Batch) -> bool:
        """Return whether ``loss_feat`` teaches the student in this part of the run, True where it is unknown."""
        progress = batch.progress
        return progress is None or self.begin <= progress < self.end

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_feat`` and ``loss_head``."""
        losses = {'loss_head': self.head_weight * student_outputs['head'][0]}
        if self.adapter is not None:
            losses = {'loss_feat': self.feat_weight * self._distance(student_outputs, batch), **losses}
        return losses

    def _distance(self, student_outputs: Taps, batch: Batch) -> Tensor:
        assert self.adapter is not None
        levels = self._levels(student_outputs)
        insides, teaches = self.insides(levels, batch), self.teaches(batch)
        adapted = self.adapter.adapted([x if teaches else x.detach() for x in levels], insides)
        distance = label_guided_distance(
            adapted, student_outputs['instructive'], insides, self.level_balance, student_outputs['taught'][0]
        )
        if teaches:
            return distance
        # The same graph in every iteration, so that the log and the checks see one kind of term.
        return distance + torch.stack([x.sum() for x in levels]).sum() * 0
