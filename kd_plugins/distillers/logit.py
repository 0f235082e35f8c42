"""Class-score distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import (
    dense_focal_loss,
    hard_label_loss,
    quality_focal_kd_loss,
    softmax_kl,
    softmax_kl_loss,
    symmetric_kl,
)
from ..ops.probabilities import agreement, joint_logits, majority_vote, mean_logits
from ..ops.reduction import weighted_mean
from ..registry import MODELS
from ..utils.checks import (
    channel_count,
    check_channel_dim,
    check_choice,
    check_flag,
    check_levels,
    check_number,
    check_same_size,
)
from .base import Batch, Taps
from .box_heads import layers_of
from .class_subsets import ClassSubset, check_teacher_classes
from .divergences import LABELLED, Divergence, anchors_of, check_kinds, check_shared, ignored_label
from .locations import counted_locations, location_rows, positions_on_images
from .paired import PairedDistiller, TapPair, module_above
from .regions import AGREEMENT, TAU, TRUSTS, TRUTH, Regions, check_agreement, label_is_predicted
from .sources import own_alias

ACTIVATIONS = ('sigmoid', 'softmax')
TARGETS = ('soft', 'hard')
VOTES = ('mean', 'majority')


@MODELS.register_module()
class LogitDistiller(PairedDistiller):
    """Divergence of the class scores of every location, query, voxel or image.

    ``activation='sigmoid'`` is the quality-focal form (:func:`kd_plugins.losses.quality_focal_kd_loss`), for heads
    with one sigmoid per class; ``'softmax'`` is the KL divergence (:func:`kd_plugins.losses.softmax_kl_loss`). Entry i
    of the student learns from entry i of the teacher, so both must predict at the same places. The second stage of a
    two-stage detector is excluded, because the proposals of two networks differ; it has
    :class:`~kd_plugins.distillers.RoIDistiller`. Locations on the padding of an image do not count, where the levels
    are maps (N, C, H, W) of images.

    With ``select`` or ``trust``, each location has a weight: ``'sigmoid'`` is then
    :func:`kd_plugins.losses.dense_focal_loss`, and ``'softmax'`` a weighted mean of the divergences over all ranks.
    Where ``others='zero'``, ``'teacher'`` and ``'difference'`` weigh the selected locations alone, ``'truth'`` and
    ``'agreement'`` all of them.

    With ``target='hard'`` the target is the teacher's most probable class
    (:func:`kd_plugins.losses.hard_label_loss`). Several teachers, ``source=['a', 'b', 'c']``, vote: the target is the
    mean of their probabilities, or the class that most of them choose.

    A teacher may know other classes than the data (``teacher_classes``). The student learns those that both know, its
    other classes learn nothing.

    ``divergence`` takes other losses in place of both forms. Ignored pixels count for nothing with them, either:

    * ``'dist'``: correlations over classes and over locations (:func:`kd_plugins.losses.dist_loss`);
    * ``'nkd'`` and ``'dkd'``: the class of the label apart from the others (:func:`kd_plugins.losses.nkd_loss`,
      :func:`kd_plugins.losses.dkd_loss`), for heads whose locations have one class each: the label of a pixel
      (``gt_sem_seg``, read at the first pixel of a cell) or of an image (``gt_label``).

    Args:
        logits: Tap of the class logits, one tensor per level: (N, C), (N, C, *spatial), or (N, L, C) with
            ``class_dim=2``.
        activation: ``'sigmoid'`` or ``'softmax'``.
        temperature: Softens both softmax distributions; must be 1 for ``'sigmoid'``. For ``'nkd'``, those of the
            classes without the label alone.
        beta: Exponent of the quality-focal factor, 0 or >= 1; only for ``'sigmoid'`` and ``'kl'``.
        class_dim: Dimension of the classes.
        teacher_logits: Tap of the teacher's class logits, for example of a deeper decoder layer; None is the same path.
        objectness: Tap of the objectness logits of heads whose score is class times objectness, (N, 1, *spatial) per
            level. The distilled probability is then this score: the product, and its root for RTMDet heads.
        teacher_objectness: The same for the teacher; None is the same path.
        target: ``'soft'``, the teacher's probabilities, or ``'hard'``, its most probable class; the latter for
            ``'softmax'``.
        select: The locations to learn from, by the teacher's highest probability: ``dict(ratio=0.01)``, the highest of
            the batch, or ``dict(score=0.1)``, all from there. The other locations learn that there is no class
            (``others='zero'``, the default for ``'sigmoid'``), the teacher's probabilities as well, without a share in
            the divisor (``'teacher'``), or nothing (``'ignore'``). None: all locations.
        trust: Weight of a location: ``'teacher'``, ``'difference'`` or ``'truth'``, see
            :class:`kd_plugins.distillers.regions.Regions` (with ``'softmax'``, ``'truth'`` is
            :func:`kd_plugins.distillers.regions.label_is_predicted`), or ``'agreement'`` of several teachers
            (:func:`kd_plugins.ops.probabilities.agreement`); None is 1.
        vote: How several teachers vote: ``'mean'``, the mean of their probabilities, or ``'majority'``, the class that
            most of them choose (:func:`kd_plugins.ops.probabilities.majority_vote`), for ``target='hard'``.
        teacher_classes: Names of the teacher's classes in the order of its logits, or ``'checkpoint'``, which reads
            them from its checkpoint. The classes that the data have as well are compared. None: the same classes.
        divergence: ``'kl'`` (the form of the activation), ``'dist'``, ``'nkd'`` or ``'dkd'``.
        factors: Factors of the parts of a divergence that differ from the default: ``dict(inter=1.0, intra=1.0)`` for
            ``'dist'``, ``dict(target=1.0, others=1.5)`` for ``'nkd'``, ``dict(target=1.0, others=1.0)`` for ``'dkd'``.
        symmetric: Whether the mean of the KL divergences in both directions takes the place of the one from the
            teacher (:func:`kd_plugins.losses.symmetric_kl`); for ``'softmax'`` and ``'kl'``.
        tau: Divergence of the teachers, in nats, at which the weight of ``trust='agreement'`` is 1 / e.
        source: See :class:`BaseDistiller`; or the names of several teachers with the same classes.
        weight, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_logit',)
    compares_classes = True
    combines = True

    def __init__(
        self,
        logits: str = 'bbox_head.rtm_cls.*',
        activation: str = 'sigmoid',
        temperature: float = 1.0,
        beta: float = 2.0,
        class_dim: int = 1,
        teacher_logits: str | None = None,
        objectness: str | None = None,
        teacher_objectness: str | None = None,
        target: str = 'soft',
        select: dict[str, Any] | None = None,
        trust: str | None = None,
        tau: float = TAU,
        vote: str = 'mean',
        teacher_classes: str | list[str] | None = None,
        divergence: str = 'kl',
        factors: dict[str, float] | None = None,
        symmetric: bool = False,
        weight: float | dict[str, Any] = 1.0,
        source: str | list[str] = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        pairs = [TapPair.of('logits', logits, 'teacher_logits', teacher_logits)]
        if objectness is not None:
            pairs.append(TapPair.of('objectness', objectness, 'teacher_objectness', teacher_objectness))
        super().__init__(pairs, weight, source, key)
        self.activation = check_choice(f'{key}.activation', activation, ACTIVATIONS)
        self.softmax = activation == 'softmax'
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True)
        self.beta = check_number(f'{key}.beta', beta, positive=False)
        if not self.softmax and self.temperature != 1.0:
            raise ConfigError(
                f"{key}.temperature is {temperature} with activation='sigmoid', which has none; "
                "use temperature=1.0 or activation='softmax'"
            )
        if 0.0 < self.beta < 1.0:
            raise ConfigError(
                f'{key}.beta is {beta}, for which the gradient is infinite at 0; use 0 or at least 1, such as 2.0'
            )
        self.class_dim = check_channel_dim(f'{key}.class_dim', class_dim)
        self.hard = check_choice(f'{key}.target', target, TARGETS) == 'hard'
        # The distribution of a softmax has no state in which there is no class.
        others = ('ignore',) if self.softmax else ('zero', 'teacher', 'ignore')
        self.regions = Regions(key, select, trust, others, (*TRUSTS, AGREEMENT))
        self.tau = check_agreement(key, trust, self.source, self.others, tau)
        self.majority = check_choice(f'{key}.vote', vote, VOTES) == 'majority'
        self.exponents = {'student': 1.0, 'teacher': 1.0}
        """Exponents of the product of class and objectness, known after :meth:`check_models`."""
        self.ignore_index: int | None = None
        """Label of pixels that do not count, known after :meth:`check_models`."""
        self.anchors = 1
        """Number of anchors in a cell, known after :meth:`check_models` where a setting reads it."""
        self.symmetric = check_flag(f'{key}.symmetric', symmetric)
        given = {'beta': beta != 2.0, 'target': self.hard, 'select': select, 'trust': trust}
        idle = [name for name, value in given.items() if value]
        check_kinds(key, divergence, factors, symmetric, self.softmax, idle)
        if self.softmax and self.beta != 2.0:
            raise ConfigError(
                f"{key}.beta is {beta} with activation='softmax', which has no such factor; leave it out, or use "
                "activation='sigmoid'"
            )
        self._check_target()
        if divergence != 'kl' and self.others:
            raise ConfigError(
                f"{key}.source is {[self.source, *self.others]} with divergence='{divergence}', which learns from one "
                "teacher; name one of them, or use divergence='kl'"
            )
        self.teacher_classes = check_teacher_classes(key, teacher_classes, divergence, trust)
        self.subset: ClassSubset | None = None
        """The classes that student and teacher share, where the teacher knows others than the data."""
        self.divergence: Divergence | None = None
        """Another divergence than that of the activation."""
        if divergence != 'kl':
            self.divergence = Divergence(key, divergence, factors, self.softmax, self.temperature, self.class_dim)

    def _check_target(self) -> None:
        key = self.key
        if self.hard and not self.softmax:
            raise ConfigError(
                f"{key}.target is 'hard' with activation='{self.activation}'; a location of such a head may have no "
                "class; valid: target='soft', or activation='softmax'"
            )
        if self.hard and self.temperature != 1.0:
            raise ConfigError(
                f"{key}.temperature is {self.temperature} with target='hard', which has none; use temperature=1.0 or "
                "target='soft'"
            )
        if self.majority and not (self.hard and self.others):
            raise ConfigError(
                f"{key}.vote is 'majority', which finds the class that most teachers choose; it needs "
                "activation='softmax', target='hard' and several teachers, such as source=['a', 'b', 'c']"
            )
        if len(self.pairs) > 1 and self.softmax:
            raise ConfigError(
                f"{key}.objectness is '{self.pairs[1].student_path}' with activation='softmax'; only scores of one "
                'sigmoid per class are multiplied by objectness; use objectness=None'
            )

    @property
    def needs_labels(self) -> str | None:
        """Return the trust in labels, or a divergence that divides the classes by the label."""
        if self.divergence is not None and self.divergence.name in LABELLED:
            return f"divergence='{self.divergence.name}' divides the classes by the label; use divergence='kl'"
        return self.regions.needs_labels

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself, and read what the heads say about objectness and ignored labels."""
        super().check_models(student, teacher)
        pair, key = self.pairs[0], f'{self.key}.logits'
        if self.hard:
            self.ignore_index = ignored_label(student, pair.student_path, key)
        if self.divergence is not None:
            self.divergence.check_models(student, pair.student_path)
        elif self.softmax or self.regions.trust == TRUTH:
            self._check_anchors(student, pair.student_path, key)
        if self.regions.active or len(self.pairs) > 1:
            self._check_objectness('student', student, pair.student_path)
            self._check_objectness('teacher', teacher, pair.teacher_path)

    def _check_anchors(self, student: nn.Module, path: str, key: str) -> None:
        head, (self.anchors, *others) = anchors_of(student, path, key)
        setting = "activation is 'softmax'" if self.softmax else f"trust is '{TRUTH}'"
        if others or (self.softmax and self.anchors > 1):
            count = f'{self.anchors} to {others[-1]}' if others else f'{self.anchors}'
            nearest = 'FeatureDistiller' if others or self.hard else "divergence='dist', which divides them"
            raise ConfigError(
                f"{self.key}.{setting}, and {count} anchors share the channels of a cell of '{path}' ({head}), so that "
                f'its channels are no classes; nearest: {nearest}'
            )

    def _check_objectness(self, role: str, model: nn.Module, path: str) -> None:
        head = module_above(model, path, f'{self.key}.logits', role, lambda module: layers_of(module) is not None)
        layers = layers_of(head)
        if layers is None or layers.objectness is None:
            return
        self.exponents[role] = layers.exponent
        if len(self.pairs) == 1 and self.regions.active and path.endswith(layers.scores):
            objectness = path[: -len(layers.scores)] + layers.objectness
            raise ConfigError(
                f"{self.key}.select and trust need the score of {type(head).__name__}, which multiplies '{path}' by "
                f"objectness; give objectness='{objectness}'"
            )

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check levels, classes and sizes."""
        pair, key = self.pairs[0], f'{self.key}.logits'
        student_outputs, teacher_outputs = self._student_shared(student_outputs), self._teacher_shared(teacher_outputs)
        student_levels = student_outputs[pair.student_key]
        for teacher_levels in pair.taught(teacher_outputs):
            check_levels(key, student_levels, teacher_levels, 'levels')
            for levels in zip(student_levels, teacher_levels):
                classes, teacher_classes = (
                    channel_count(f'{self.key}.class_dim', level, self.class_dim, f"'{pair.student_path}'")
                    for level in levels
                )
                check_shared(key, classes, self.anchors)
                if self.softmax and self.divergence is None and classes < 2:
                    raise ConfigError(
                        f"{self.key}.activation is 'softmax', and '{pair.student_path}' gives one class, whose softmax "
                        "is 1 whatever it is; use activation='sigmoid'"
                    )
                if classes != teacher_classes:
                    raise ConfigError(
                        f'{key}: the teacher predicts {teacher_classes} classes where the student predicts {classes}; '
                        'use a teacher trained on the same classes, or FeatureDistiller'
                    )
            check_same_size(key, student_levels, teacher_levels, 'both must predict at the same places')
        if self.divergence is not None:
            self.divergence.check_outputs(student_levels)
        for other in self.pairs[1:]:
            key = f'{self.key}.{other.student_key}'
            for maps in (student_outputs[other.student_key], *other.taught(teacher_outputs)):
                check_levels(key, student_levels, maps, 'levels')
                first = [level.narrow(self.class_dim, 0, 1) for level in student_levels]
                check_same_size(key, first, maps, 'objectness has one channel at the places of the class logits')

    def take_classes(self, teacher: str, teacher_classes: Sequence[str], classes: Sequence[str]) -> None:
        """Keep which classes student and teacher share, with ``teacher_classes``."""
        self.subset = ClassSubset(self.key, teacher, teacher_classes, classes, self.class_dim, self.softmax)

    def _student_shared(self, outputs: Taps) -> Taps:
        """Return the student's outputs with the logits of the classes that both networks know."""
        if self.subset is None:
            return outputs
        key = self.pairs[0].student_key
        return {**outputs, key: self.subset.of_student(outputs[key])}

    def _teacher_shared(self, outputs: Taps) -> Taps:
        """Return the outputs of every teacher with the logits of the classes that both networks know."""
        if self.subset is None:
            return outputs
        key = self.pairs[0].teacher_key
        return {
            alias: self.subset.of_teacher(levels) if own_alias(alias) == key else levels
            for alias, levels in outputs.items()
        }

    def _scores(self, role: str, outputs: Sequence[Sequence[Tensor]]) -> Sequence[Tensor]:
        """Return the logits of a network's scores, from those of the classes and of objectness where it is tapped."""
        if len(outputs) == 1:
            return outputs[0]
        return [joint_logits(c, o, self.exponents[role]) for c, o in zip(*outputs)]

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_logit``."""
        student_outputs, teacher_outputs = self._student_shared(student_outputs), self._teacher_shared(teacher_outputs)
        student_levels = self._scores('student', [student_outputs[pair.student_key] for pair in self.pairs])
        teachers = [
            self._scores('teacher', outputs) for outputs in zip(*(pair.taught(teacher_outputs) for pair in self.pairs))
        ]
        if self.divergence is not None:
            return {'loss_logit': self.divergence.loss(student_levels, teachers[0], batch)}
        if self.regions.active or self.hard or len(teachers) > 1:
            return {'loss_logit': self._dense_loss(student_levels, teachers, batch)}
        options: dict[str, Any] = {
            'class_dim': self.class_dim,
            'valid': positions_on_images(student_levels, batch, self.class_dim),
        }
        if self.softmax:
            options |= {'temperature': self.temperature, 'symmetric': self.symmetric}
            return {'loss_logit': softmax_kl_loss(student_levels, teachers[0], **options)}
        return {'loss_logit': quality_focal_kd_loss(student_levels, teachers[0], self.beta, **options)}

    def _probabilities(self, logits: Tensor, dim: int = -1) -> Tensor:
        return logits.detach().softmax(dim=dim) if self.softmax else logits.detach().sigmoid()

    def confidence(self, teacher_outputs: Taps) -> list[Tensor]:
        """Return the teacher's highest class probability at the locations of each level, without ``class_dim``."""
        teacher_outputs = self._teacher_shared(teacher_outputs)
        outputs = [pair.taught(teacher_outputs)[0] for pair in self.pairs]
        return [self._probabilities(x, self.class_dim).amax(self.class_dim) for x in self._scores('teacher', outputs)]

    def _dense_loss(
        self, student_levels: Sequence[Tensor], teacher_levels: Sequence[Sequence[Tensor]], batch: Batch
    ) -> Tensor:
        student = location_rows(student_levels, self.class_dim)
        teachers = [location_rows(levels, self.class_dim) for levels in teacher_levels]
        teacher = teachers[0]
        scores = torch.stack([self._probabilities(logits) for logits in teachers]).mean(dim=0)
        if len(teachers) > 1:
            if self.majority:
                teacher = scores = majority_vote(teachers)
            else:
                teacher = mean_logits(teachers, self.softmax, self.temperature)
        corners, valid = counted_locations(student_levels, self.class_dim, batch, scores, self.ignore_index)
        selected = self.regions.selected(scores.amax(dim=-1), valid)
        if self.regions.trust == AGREEMENT:
            trusted = agreement(teachers, self.softmax, self.tau)
        elif self.softmax and self.regions.trust == TRUTH:
            trusted = label_is_predicted(scores, corners, batch, f'{self.key}.trust').to(scores.dtype)
        elif self.regions.trust == TRUTH:
            # The best anchor of a cell says which class the teacher sees there.
            of_cells = scores.unflatten(-1, (self.anchors, scores.shape[-1] // self.anchors)).amax(dim=-2)
            trusted = self.regions.trusted(of_cells, None, corners, batch)
        else:
            trusted = self.regions.trusted(scores, self._probabilities(student), corners, batch)
        if self.hard:
            return hard_label_loss(student, teacher, trusted * selected, valid)
        if self.softmax:
            divergence = symmetric_kl if self.symmetric else softmax_kl
            return weighted_mean(divergence(student, teacher, self.temperature, dim=-1), trusted * selected, eps=1.0)
        kind = 'ignore' if self.regions.selection is None else self.regions.selection.others
        others = torch.zeros_like(trusted)
        if kind != 'ignore':
            others = (trusted if self.regions.trust in (TRUTH, AGREEMENT) else 1.0) * (valid & ~selected)
        return dense_focal_loss(student, teacher, trusted * selected, others, self.beta, float(kind == 'teacher'))

    def monitors(self) -> dict[str, Tensor]:
        """Return ``selected``, the share of the locations that the last batch selected, where there is a selection."""
        return self.regions.shares
