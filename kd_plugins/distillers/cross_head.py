"""Cross-head distillation: the teacher's head continues from the student's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters import infer_adapter
from ..errors import ConfigError
from ..injection import injected
from ..losses import cross_box_loss, cross_centerness_loss, cross_class_loss, localization_loss
from ..ops.channel_alignment import aligned_channels
from ..registry import MODELS
from ..taps import TapSet, module_at
from ..utils.checks import check_choice, check_integer, check_levels, check_number, check_same_size
from .base import BaseDistiller, Batch, Taps
from .box_heads import BoxDecoder, check_same_cells
from .locations import grid_locations, inside_images, location_rows

BRANCHES = ('cls', 'reg')
NORMALIZERS = ('positives', 'confidence')


@MODELS.register_module()
class CrossHeadDistiller(BaseDistiller):
    """Predictions of the teacher's head on the student's features, against the teacher's own (CrossKD).

    Source: arXiv 2306.11369. The student's features after some convolutions of its head get the mean and deviation of
    the teacher's (:func:`kd_plugins.ops.channel_alignment.aligned_channels`) and go through the rest of the teacher's
    head. So the student's own predictions are left to its labels. ``loss_cls`` is
    :func:`kd_plugins.losses.cross_class_loss`. ``loss_reg`` compares distributions over edges for heads of the GFL
    family (:func:`kd_plugins.losses.localization_loss` with temperature 1), and decoded boxes for ATSS, RetinaNet and
    FCOS (:func:`kd_plugins.losses.cross_box_loss`); a location weighs as much as the teacher's highest class
    probability there. ATSS and FCOS have ``loss_centerness`` as well, the divergence of their centerness with the same
    weights (:func:`kd_plugins.losses.cross_centerness_loss`). Padding counts for nothing.

    Args:
        head: Dotted path of the head, the same in student and teacher.
        index: Number of convolutions of each branch that the student's features go through first; 0 are the features
            of the neck.
        beta: Exponent of the modulating factor of ``loss_cls``, 0 or >= 1.
        normalizer: Divisor of ``loss_cls`` and of the loss on decoded boxes: ``'positives'``, the number of locations
            to which the student's head has assigned an object, or ``'confidence'``, the sum of the teacher's highest
            class probabilities, which needs no labels.
        cls_weight: Factor inside ``loss_cls``.
        reg_weight: Factor inside ``loss_reg``; None is 4 for distributions and 1 for decoded boxes, as in the paper's
            code.
        centerness_weight: Factor inside ``loss_centerness``; None is 1 for heads that have a centerness.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`. A teacher is required.
        key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names: tuple[str, ...] = ('loss_cls', 'loss_reg')
    compares_classes = True
    query_grad = True

    def __init__(
        self,
        head: str = 'bbox_head',
        index: int = 3,
        beta: float = 1.0,
        normalizer: str = 'positives',
        cls_weight: float = 1.0,
        reg_weight: float | None = None,
        centerness_weight: float | None = None,
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, source, key)
        self.head = head
        self.index = check_integer(f'{key}.index', index, 0, 'valid: a number of convolutions, such as 3', 100)
        self.beta = check_number(f'{key}.beta', beta, positive=False)
        if 0.0 < self.beta < 1.0:
            raise ConfigError(
                f'{key}.beta is {beta}, for which the gradient is infinite at 0; use 0 or at least 1, such as 1.0'
            )
        self.normalizer = check_choice(f'{key}.normalizer', normalizer, NORMALIZERS)
        self.cls_weight = check_number(f'{key}.cls_weight', cls_weight, positive=False)
        self.reg_weight = None if reg_weight is None else check_number(f'{key}.reg_weight', reg_weight, positive=False)
        self.centerness_weight = centerness_weight
        if centerness_weight is not None:
            check_number(f'{key}.centerness_weight', centerness_weight, positive=False)
        self.decoder: BoxDecoder | None = None
        self.num_classes = 0
        self.adapters = nn.ModuleDict()
        """Maps from the student's channels to those of the teacher, of each branch."""

    def _tower(self, branch: str) -> str:
        """Return the path of the module that gets the features where both networks meet."""
        convs = f'{self.head}.{branch}_convs'
        return f'{convs}.0' if self.index == 0 else f'{convs}.{self.index - 1}.activate'

    def _tower_taps(self) -> dict[str, str]:
        # The activation overwrites its input.
        return {branch: f'{self._tower(branch)}:in.0{":copy" if self.index else ""}' for branch in BRANCHES}

    @property
    def needs_labels(self) -> str | None:
        """Return a divisor that counts labelled locations."""
        positives = self.normalizer == 'positives'
        return "normalizer='positives' counts labelled locations; use normalizer='confidence'" if positives else None

    def student_taps(self) -> dict[str, str]:
        """Return the taps of the features of both branches, and that of the assigned labels."""
        labels = {'labels': f'{self.head}.loss_cls:in.1'} if self.normalizer == 'positives' else {}
        return {**self._tower_taps(), **labels}

    def teacher_taps(self) -> dict[str, str]:
        """Return the taps of the features of both branches, and those of class logits and boxes."""
        return {**self._tower_taps(), **{name: f'{self.head}.{path}' for name, path in self._predictors().items()}}

    def _predictors(self) -> dict[str, str]:
        """Return names and paths below the head of the layers that predict."""
        assert self.decoder is not None
        layers = self.decoder.layers
        centerness = {} if layers.centerness is None else {'centerness': layers.centerness}
        return {'scores': layers.scores, 'boxes': layers.boxes, **centerness}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Check the branches of both heads, and read the decoder of the teacher's head."""
        decoders = {}
        for role, model in (('student', student), ('teacher', teacher)):
            head = module_at(model, self.head, f'{self.key}.head', role)
            where = f"{self.key}.head: '{self.head}' of the {role}"
            decoders[role] = BoxDecoder.of(head, where)
            self._check_branches(head, where)
        check_same_cells(self.key, self.head, decoders['student'], decoders['teacher'])
        self.decoder = decoders['teacher']
        if self.decoder.layers.centerness is not None:
            self.loss_names = ('loss_cls', 'loss_reg', 'loss_centerness')
        elif self.centerness_weight is not None:
            raise ConfigError(
                f"{self.key}.centerness_weight is {self.centerness_weight}, and '{self.head}' predicts no centerness; "
                'leave it out'
            )
        centered = self.decoder.layers.centerness is not None and self.centerness_weight != 0.0
        if not self.cls_weight and self.reg_weight == 0.0 and not centered:
            raise ConfigError(
                f'{self.key}: cls_weight and reg_weight are 0, so nothing is compared; use for example cls_weight=1.0'
            )
        student_head: Any = student.get_submodule(self.head)
        self.num_classes = int(student_head.num_classes)

    def _check_branches(self, head: nn.Module, where: str) -> None:
        for branch in BRANCHES:
            convs = getattr(head, f'{branch}_convs', None)
            if not isinstance(convs, nn.ModuleList) or not all(hasattr(conv, 'activate') for conv in convs):
                raise ConfigError(
                    f'{where} is {type(head).__name__}, which has no {branch}_convs that all levels share, each with '
                    'an activation; valid: GFLHead, ATSSHead, RetinaHead, FCOSHead and heads derived from them'
                )
            if self.index > len(convs) or (self.index == 0 and not len(convs)):
                raise ConfigError(
                    f'{self.key}.index is {self.index}, and {where.partition(": ")[2]} has {len(convs)} convolutions '
                    f'in {branch}_convs; valid: 0 to {len(convs)}, such as {max(len(convs) - 1, 0)}'
                )

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check levels, sizes and classes, and make adapters where the channels differ."""
        assert self.decoder is not None
        for branch in BRANCHES:
            key = f'{self.key}.{branch}'
            mine, theirs = student_outputs[branch], teacher_outputs[branch]
            check_levels(key, mine, theirs, 'levels')
            check_same_size(
                key, [x[:, 0] for x in mine], [x[:, 0] for x in theirs], 'both must predict at the same locations'
            )
            self.adapters[branch] = infer_adapter(mine[0].shape, theirs[0].shape)
        classes = teacher_outputs['scores'][0].shape[1] // self.decoder.anchors
        if classes != self.num_classes:
            raise ConfigError(
                f'{self.key}.head: the teacher predicts {classes} classes where the student predicts '
                f'{self.num_classes}; use a teacher trained on the same classes, or FeatureDistiller'
            )

    def _valid_cells(self, maps: Sequence[Tensor], batch: Batch) -> list[Tensor]:
        """Return which cells of each level lie on an image, shape (N, 1, H, W) each."""
        assert self.decoder is not None
        centers, _ = grid_locations(maps, self.decoder.grids)
        sizes = [x.shape[-2] * x.shape[-1] for x in maps]
        levels = inside_images(batch, centers, len(maps[0])).split(sizes, dim=1)
        return [level.view(len(x), 1, *x.shape[-2:]) for level, x in zip(levels, maps)]

    def query(
        self, model: nn.Module, features: Any, student_outputs: Taps, teacher_outputs: Taps, batch: Batch
    ) -> Taps:
        """Return class logits and boxes of the teacher's head, from the student's features on."""
        assert self.decoder is not None
        maps: list[Tensor] = []
        targets: list[Tensor] = []
        with torch.autocast(student_outputs['cls'][0].device.type, enabled=False):
            for branch in BRANCHES:
                maps += [self.adapters[branch](x) for x in student_outputs[branch]]
                targets += teacher_outputs[branch]
            valid = self._valid_cells(student_outputs['cls'], batch)
            aligned = aligned_channels(maps, targets, valid * len(BRANCHES))
        replaced = dict(zip(map(self._tower, BRANCHES), (aligned[: len(valid)], aligned[len(valid) :])))
        head, predictors = model.get_submodule(self.head), self._predictors()
        taps = TapSet(head, {f'{self.key}.{name}': path for name, path in predictors.items()})
        try:
            with injected(model, replaced), taps.forward_pass(ends_early=False):
                head(features)
            return {f'cross_{name}': taps.read(path) for name, path in predictors.items()}
        finally:
            taps.remove()

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_reg`` and, for heads with a centerness, ``loss_centerness``."""
        assert self.decoder is not None
        anchors = self.decoder.anchors
        cross, scores = (location_rows(teacher_outputs[name], anchors=anchors) for name in ('cross_scores', 'scores'))
        boxes = teacher_outputs['boxes']
        valid = inside_images(batch, self.decoder.centers(boxes), len(scores)).to(scores.dtype)
        confidence = scores.sigmoid().amax(dim=-1) * valid
        count = confidence.sum() if self.normalizer == 'confidence' else self._positives(student_outputs['labels'])
        loss_cls = cross_class_loss(cross, scores, valid, count, self.beta)
        if self.decoder.layers.form == 'strides_bins':
            mine, theirs = (location_rows(x).unflatten(-1, (4, -1)) for x in (teacher_outputs['cross_boxes'], boxes))
            factor, loss_reg = 4.0, localization_loss(mine, theirs, confidence, temperature=1.0)
        else:
            factor = 1.0
            loss_reg = cross_box_loss(
                self.decoder(teacher_outputs['cross_boxes']), self.decoder(boxes), confidence, count
            )
        factor = factor if self.reg_weight is None else self.reg_weight
        losses = {'loss_cls': self.cls_weight * loss_cls, 'loss_reg': factor * loss_reg}
        if 'centerness' in teacher_outputs:
            pair = (teacher_outputs[f'{side}centerness'] for side in ('cross_', ''))
            mine, theirs = (location_rows(levels, anchors=anchors).squeeze(-1) for levels in pair)
            weight = 1.0 if self.centerness_weight is None else self.centerness_weight
            losses['loss_centerness'] = weight * cross_centerness_loss(mine, theirs, confidence, count)
        return losses

    def _positives(self, targets: Sequence[Tensor]) -> Tensor:
        """Return the number of locations with an object; the targets of some losses hold their IoU as well."""
        labels = [target for target in targets if not target.is_floating_point()]
        return torch.stack([((x >= 0) & (x < self.num_classes)).sum() for x in labels]).sum()
