"""RoI distillation: the teacher's second stage, asked about the student's proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import dkd_loss, roi_box_loss, roi_mask_loss, softmax_kl
from ..ops.boxes import highest_overlap
from ..ops.reduction import mean_over_images
from ..registry import MODELS
from ..utils.argument_types import shown
from ..utils.checks import check_choice, check_flag, check_number
from .base import BaseDistiller, Batch, Taps
from .locations import ground_truth_boxes, ground_truth_labels
from .roi_heads import RoIHead

DIVERGENCES = ('dkd', 'kl')


@MODELS.register_module()
class RoIDistiller(BaseDistiller):
    """Classes, boxes and masks of the student's proposals, as the teacher's second stage sees them.

    For Faster, Mask and Cascade R-CNN. Proposals of two networks differ, so the teacher pools its own features at the
    student's sampled RoIs and runs its heads on them. ``loss_cls`` is :func:`kd_plugins.losses.dkd_loss` with the
    background as a class, or the mean of :func:`kd_plugins.losses.softmax_kl` over the RoIs. The label of a RoI is the
    class of the object that it overlaps most, background below the IoU that the student's assigner asks for.
    ``loss_reg`` is :func:`kd_plugins.losses.roi_box_loss` on the deltas of this class, weighted by the teacher's
    probability of it. ``loss_mask`` is :func:`kd_plugins.losses.roi_mask_loss` on the RoIs of the student's mask head.
    In a cascade, each stage is asked about the RoIs of the student's stage, and counts as much as in the student's own
    loss. On unlabelled images the teacher's most probable class is the label, and there is no ``loss_mask``.

    Args:
        head: Dotted path of the RoI head, the same in student and teacher.
        stages: Stages of a cascade that learn, such as ``(0, 2)``; ``'*'`` is every stage.
        temperature: Softens both class distributions.
        divergence: ``'dkd'``, or ``'kl'``, which together with the student's own cross-entropy is a mixed target.
        alpha: Factor of the labelled class in ``'dkd'``, 1 by default.
        beta: Factor of the other classes in ``'dkd'``, 0.25 by default.
        reg: Whether boxes learn.
        mask: Whether masks learn; ``'auto'`` where both networks have masks with an extractor of their own.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`. A teacher is required.
        key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names: tuple[str, ...] = ('loss_cls', 'loss_reg', 'loss_mask')
    compares_classes = True

    def __init__(
        self,
        head: str = 'roi_head',
        stages: str | Sequence[int] = '*',
        temperature: float = 1.0,
        divergence: str = 'dkd',
        alpha: float | None = None,
        beta: float | None = None,
        reg: bool = True,
        mask: bool | str = 'auto',
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, source, key)
        self.head = head
        self.stages = stages
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True)
        self.divergence = check_choice(f'{key}.divergence', divergence, DIVERGENCES)
        for name, value in (('alpha', alpha), ('beta', beta)):
            if divergence == 'kl' and value is not None:
                raise ConfigError(f"{key}.{name} is {shown(value)}, which divergence='kl' does not read; leave it out")
        self.alpha = check_number(f'{key}.alpha', 1.0 if alpha is None else alpha, positive=False)
        self.beta = check_number(f'{key}.beta', 0.25 if beta is None else beta, positive=False, example=0.25)
        if divergence == 'dkd' and not self.alpha and not self.beta:
            raise ConfigError(f'{key}: alpha and beta are 0, so loss_cls would be 0; use for example alpha=1.0')
        self.reg = check_flag(f'{key}.reg', reg)
        if mask not in (True, False, 'auto'):
            raise ConfigError(f"{key}.mask is {shown(mask)}; valid: 'auto', True, False")
        self.mask = mask
        self.with_mask = bool(mask)
        """Whether there is a loss on masks, known after :meth:`check_models`."""
        self.student_head: RoIHead | None = None
        """Constants of the student's RoI head, known after :meth:`check_models`."""

    def student_taps(self) -> dict[str, str]:
        """Return the taps of RoIs and outputs of every stage, and those of the mask head.

        The first stage always has a tap: without any RoI, MMDetection does not run the stages after it.
        """
        assert self.student_head is not None
        taps = {'boxes_0': self.student_head.paths(self.head, 0)['bbox_head']}
        for stage in self.student_head.stages:
            paths = self.student_head.paths(self.head, stage)
            taps[f'rois_{stage}'] = f'{paths["bbox_roi_extractor"]}:in.1'
            taps[f'boxes_{stage}'] = paths['bbox_head']
            if self.with_mask:
                taps[f'mask_rois_{stage}'] = f'{paths["mask_roi_extractor"]}:in.1'
                taps[f'masks_{stage}'] = paths['mask_head']
        return taps

    def teacher_taps(self) -> dict[str, str]:
        """Return no tap, as the teacher is asked."""
        return {}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Compare both RoI heads."""
        heads = {
            role: RoIHead.of(model, self.head, f'{self.key}.head', role, self.stages, f'{self.key}.stages')
            for role, model in (('student', student), ('teacher', teacher))
        }
        mine, theirs = heads['student'], heads['teacher']
        for name in ('stages', 'num_classes'):
            values = [getattr(head, name) for head in (mine, theirs)]
            if values[0] != values[1]:
                raise ConfigError(
                    f"{self.key}.head: '{self.head}' of the student has {name}={values[0]} and that of the teacher "
                    f'{name}={values[1]}; both must be equal, and there is FeatureDistiller for other pairs'
                )
        if self.reg and mine.boxes != theirs.boxes:
            raise ConfigError(
                f"{self.key}.reg is True, and '{self.head}' of the student predicts {mine.boxes} where the teacher "
                f'predicts {theirs.boxes}; use reg=False, or equal box coders'
            )
        if self.divergence == 'dkd' and not self.alpha and mine.num_classes == 1:
            raise ConfigError(
                f'{self.key}.alpha is 0, and with one class and background there are no other classes to compare, so '
                "loss_cls would be 0; use alpha=1.0, or divergence='kl'"
            )
        without = next((head.no_masks for head in (mine, theirs) if head.no_masks), '')
        if mine.masks != theirs.masks:
            without = without or f'the student predicts {mine.masks} and the teacher {theirs.masks}'
        if self.on == 'unlabelled':
            without = without or "on='unlabelled' has no labels, which say whose mask it is"
        if self.mask is True and without:
            raise ConfigError(f'{self.key}.mask is True, and {without}; use mask=False')
        self.with_mask = bool(self.mask) and not without
        self.student_head = mine
        kinds = ('rois', 'boxes', 'mask_rois', 'masks') if self.with_mask else ('rois', 'boxes')
        self.may_rest = tuple(f'{kind}_{stage}' for stage in mine.stages if stage for kind in kinds)
        self.loss_names = (
            'loss_cls',
            *(['loss_reg'] if self.reg else []),
            *(['loss_mask'] if self.with_mask else []),
        )

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check that no stage ran more than once."""
        assert self.student_head is not None
        for alias, tensors in student_outputs.items():
            expected = 2 if alias.startswith('boxes') else 1
            if len(tensors) != expected and (tensors or alias not in self.may_rest):
                raise ConfigError(
                    f'{self.key}.{alias}: the tap gives {len(tensors)} tensors where one call of a stage gives '
                    f'{expected}; a RoI head that calls a stage more than once cannot be compared'
                )

    def query(
        self, model: nn.Module, features: Any, student_outputs: Taps, teacher_outputs: Taps, batch: Batch
    ) -> Taps:
        """Return scores, deltas and masks of the teacher at the student's RoIs."""
        assert self.student_head is not None
        answers: dict[str, Sequence[Tensor]] = {}
        for stage in self.student_head.stages:
            paths = self.student_head.paths(self.head, stage)
            pairs = {'boxes': ('rois', 'bbox'), **({'masks': ('mask_rois', 'mask')} if self.with_mask else {})}
            for name, (rois, kind) in pairs.items():
                if not student_outputs[f'{rois}_{stage}']:
                    continue  # it had no RoI to run on
                extractor: Any = model.get_submodule(paths[f'{kind}_roi_extractor'])
                pooled = extractor(features[: extractor.num_inputs], student_outputs[f'{rois}_{stage}'][0])
                shared = getattr(model.get_submodule(self.head), 'shared_head', None)
                output = model.get_submodule(paths[f'{kind}_head'])(pooled if shared is None else shared(pooled))
                answers[f'{name}_{stage}'] = output if isinstance(output, (tuple, list)) else [output]
        return answers

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_reg`` and ``loss_mask``, as far as they are wanted."""
        assert self.student_head is not None
        head, truths = self.student_head, None
        if self.on == 'labelled':
            like = torch.zeros(batch.num_images, 1, device=student_outputs['boxes_0'][0].device)
            truths = ground_truth_boxes(batch, like), ground_truth_labels(batch, f'{self.key}.labels', like)
        nothing = student_outputs['boxes_0'][0][:0].sum()
        losses: dict[str, list[Tensor]] = {name: [nothing] for name in self.loss_names}
        student_outputs, teacher_outputs = self._completed(student_outputs, teacher_outputs)
        for stage in head.stages:
            weight = head.weights[stage]
            for name, value in self._stage_losses(stage, student_outputs, teacher_outputs, truths).items():
                losses[name].append(weight * value)
        return {name: torch.stack(values).sum() for name, values in losses.items()}

    def _completed(self, student_outputs: Taps, teacher_outputs: Taps) -> tuple[Taps, Taps]:
        """Return the outputs with empty ones for each part that had no RoI to run on.

        Its losses are 0 then, and this rank still takes part in the sums over all ranks.
        """
        assert self.student_head is not None
        boxes = [x[:0].detach() for x in student_outputs['boxes_0']]
        empty = {'rois': [boxes[0].new_zeros(0, 5)], 'boxes': boxes}
        if self.with_mask:
            empty |= {'mask_rois': empty['rois'], 'masks': [boxes[0].new_zeros(0, 1, 1, 1)]}
        every = {f'{kind}_{stage}': x for stage in self.student_head.stages for kind, x in empty.items()}
        mine = {alias: student_outputs[alias] or x for alias, x in every.items()}
        theirs = {alias: teacher_outputs.get(alias) or x for alias, x in every.items() if 'rois' not in alias}
        return mine, theirs

    def _class_loss(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        if self.divergence == 'kl':
            return mean_over_images(softmax_kl(student, teacher, self.temperature, dim=-1))
        return dkd_loss(student, teacher, labels, self.temperature, self.alpha, self.beta)

    def _stage_losses(
        self,
        stage: int,
        student_outputs: Taps,
        teacher_outputs: Taps,
        truths: tuple[Tensor, Tensor] | None,
    ) -> Mapping[str, Tensor]:
        assert self.student_head is not None
        head, boxes, targets = self.student_head, student_outputs[f'boxes_{stage}'], teacher_outputs[f'boxes_{stage}']
        background = head.num_classes
        labels = targets[0].argmax(dim=-1)
        if truths is not None:
            labels = _labels_of(student_outputs[f'rois_{stage}'][0], *truths, head.thresholds[stage], background)
        losses = {'loss_cls': self._class_loss(boxes[0], targets[0], labels)}
        if self.reg:
            trust = targets[0].softmax(dim=-1).gather(1, labels[:, None])[:, 0] * (labels < background)
            mine, theirs = (_of_class(x.unflatten(1, (-1, 4)), labels, background) for x in (boxes[1], targets[1]))
            losses['loss_reg'] = roi_box_loss(mine, theirs, trust)
        if self.with_mask and truths is not None:
            # Every RoI of the mask head belongs to an object, the one that it overlaps most.
            owners = _labels_of(student_outputs[f'mask_rois_{stage}'][0], *truths, 0.0, background)
            sides = (student_outputs[f'masks_{stage}'][0], teacher_outputs[f'masks_{stage}'][0])
            mine, theirs = (_of_class(x, owners, background) for x in sides)
            losses['loss_mask'] = roi_mask_loss(mine, theirs)
        return losses


def _labels_of(rois: Tensor, boxes: Tensor, labels: Tensor, threshold: float, background: int) -> Tensor:
    """Return the class of the object that each RoI overlaps most, background where the IoU is below a threshold.

    Args:
        rois: Index of the image and corners, shape (R, 5).
        boxes: Corners of all objects, shape (N, G, 4).
        labels: Their classes, shape (N, G), -1 where there is no object.
        threshold: Lowest IoU.
        background: The class of background.
    """
    images = rois[:, 0].long()
    overlap, index = highest_overlap(rois[:, 1:], images, boxes)
    found = labels[images, index]
    return found.masked_fill((overlap < threshold) | (found < 0), background)


def _of_class(values: Tensor, labels: Tensor, background: int) -> Tensor:
    """Return the part of one class, or the only part where all classes share it.

    Args:
        values: Shape (R, C, ...) with one entry for each class, or (R, 1, ...).
        labels: Shape (R,).
        background: The class of background, for which it does not matter what is returned.
    """
    if values.shape[1] == 1:
        return values[:, 0]
    return values[torch.arange(len(values), device=values.device), labels.clamp(max=background - 1)]
