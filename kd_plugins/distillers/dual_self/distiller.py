"""Dual self-distillation: the deepest levels of a U-shaped network teach its shallower ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import feature_mse, uncertainty_weighted
from ...ops.reduction import mean_over_images
from ...ops.resizing import replicate_edges
from ...registry import MODELS
from ...utils.checks import check_choice, check_integer, check_number, is_integer
from ..base import BaseDistiller, Batch, Taps
from ..depth import depth_order
from ..locations import positions_on_images
from .level_head import LevelHeads, LevelHints
from .level_taps import (
    branch_taps,
    check_labels,
    head_attribute,
    ignore_padding,
    label_count,
    paths_of,
    read_levels,
    semantic_labels,
)
from .level_terms import OUTPUT, Branch, LevelTerms

BRANCHES = ('encoder', 'decoder')
SUPERVISION = ('all', 'deepest', 'none')
UPSAMPLE = ('deconv', 'interpolate')
LABEL_INTERVAL = 50
"""Batches from one reading of the labels to the next on a device other than the CPU."""


@MODELS.register_module()
class DualSelfDistiller(BaseDistiller):
    """Dual self-distillation (DSD): the deepest level of encoder and decoder teaches the shallower ones.

    Source: IEEE ISBI 2024, "Dual self-distillation of U-shaped networks for 3D medical image segmentation";
    soumbane/DualSelfDistillation. Levels get auxiliary heads, which belong to the distiller and not to the student. The
    heads learn from the labels and from the softened output of the deepest head of their branch. Levels have two or
    three spatial axes.

    **Deepest** means last in the order in which the network computes its levels: in the encoder the one before the
    bottleneck, in the decoder the one nearest to the output (the release calls it ``dec1``; the bottleneck, ``dec4``,
    is the decoder's first and shallowest level). The order is checked by sizes at the first batch.

    Args:
        encoder: Taps of the encoder's levels: a list of paths in the order of computation, sizes shrinking; or one
            path, with ``*`` or of a module that returns all levels, which are then ordered by size. None: no encoder.
        decoder: Taps of the decoder's levels, likewise, sizes growing, from the bottleneck on.
        num_classes: Number of channels of the heads, one for each label; None takes that of the student: of its
            ``decode_head``, where one sigmoid output means two labels, or of a volumetric network's ``out_channels``.
        ignore_index: Label of positions that are left out of all terms; None takes that of the student's
            ``decode_head``, or 255 where it has none.
        encoder_supervision: Encoder heads that learn from the labels: ``'deepest'``, ``'all'`` or ``'none'``.
        decoder_supervision: Decoder heads that learn from the labels, likewise.
        seg_weight: Weight of the supervision; 0 switches it off.
        dice_weight: Weight of the Dice loss within the supervision.
        ce_weight: Weight of the cross-entropy within the supervision.
        kl_weight: Weight of the divergences; 0 switches them off, which leaves deep supervision.
        temperature: Softens both distributions of a divergence.
        include_background: Whether class 0 takes part in the divergences.
        detach_teacher: Whether the divergences give no gradient to the level that teaches. In the release they do give
            it one.
        logits: Tap of the network's own class logits (N, num_classes, *spatial). If it is given, they teach all levels
            of both branches, as in "Be your own teacher" (arXiv 1905.08094).
        feature_weight: Weight of the squared distance between the mean features of the deepest level and those of the
            shallower ones, mapped to its channels; 0 switches it off.
        feature_size: Positions per axis that features are averaged to before the distance; None keeps the size of the
            deepest level.
        level_decay: Factor per level: the terms of the level before the deepest one are multiplied by it once, those of
            the level before that twice, and so on. With 0.5, each level weighs half of the next deeper one, as in
            nnU-Net's deep supervision (arXiv 1904.08128, section 2); with 1, as in the release, all weigh the same.
        learnable_weights: Whether each level's term has a learned uncertainty.
        upsample: Upsampling of the heads to the size of the labels: ``'deconv'`` or ``'interpolate'``, see
            :class:`~kd_plugins.distillers.dual_self.level_head.LevelHead`.
        share_heads: Whether encoder and decoder levels of equal size and channels share a head.
        resolution: Size at which the divergences are taken: ``'full'``, that of the labels, or a divisor of it.
        chunk: Number of positions (of all images) that are processed at once. With more positions, the maps of all
            levels are computed part by part, in the forward and again in the backward pass. None is 16384 on a CPU and
            262144 elsewhere.
        weight, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(
        self,
        encoder: str | Sequence[str] | None = None,
        decoder: str | Sequence[str] | None = None,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        encoder_supervision: str = 'deepest',
        decoder_supervision: str = 'all',
        seg_weight: float = 1.0,
        dice_weight: float = 1.0,
        ce_weight: float = 1.0,
        kl_weight: float = 1.0,
        temperature: float = 3.0,
        include_background: bool = True,
        detach_teacher: bool = True,
        logits: str | None = None,
        feature_weight: float = 0.0,
        feature_size: int | None = 1,
        level_decay: float = 1.0,
        learnable_weights: bool = False,
        upsample: str = 'deconv',
        share_heads: bool = False,
        resolution: str | int = 'full',
        chunk: int | None = None,
        weight: float | dict[str, Any] = 1.0,
        key: str = 'distillers.<name>',
    ) -> None:
        # The network's own levels teach, also where the hook has a teacher for other distillers.
        super().__init__(weight, 'student', key)
        self.paths = {'encoder': paths_of(f'{key}.encoder', encoder), 'decoder': paths_of(f'{key}.decoder', decoder)}
        if not any(self.paths.values()):
            raise ConfigError(
                f'{key}.encoder and .decoder are both empty; name the levels of at least one, such as '
                "encoder='backbone.encoder.*'"
            )
        self.num_classes = num_classes
        if num_classes is not None:
            check_integer(f'{key}.num_classes', num_classes, 2, 'valid: None, or an integer of at least 2', 2**16)
        if ignore_index is not None and not is_integer(ignore_index):
            raise ConfigError(f'{key}.ignore_index is {ignore_index!r}; valid: None, 255, -100')
        self.ignore_index = ignore_index
        supervision = {'encoder': encoder_supervision, 'decoder': decoder_supervision}
        for branch, value in supervision.items():
            check_choice(f'{key}.{branch}_supervision', value, SUPERVISION)
        weights = dict(seg_weight=seg_weight, dice_weight=dice_weight, ce_weight=ce_weight)
        weights |= dict(kl_weight=kl_weight, feature_weight=feature_weight)
        checked = {name: check_number(f'{key}.{name}', value, positive=False) for name, value in weights.items()}
        if seg_weight and not dice_weight and not ce_weight:
            raise ConfigError(f'{key}.dice_weight and .ce_weight are both 0; for no supervision set seg_weight=0')
        advice = "valid: 'full', or an integer such as 4"
        self.options: dict[str, Any] = dict(
            dice_weight=checked['dice_weight'],
            ce_weight=checked['ce_weight'],
            temperature=check_number(f'{key}.temperature', temperature, positive=True),
            include_background=include_background,
            detach_teacher=detach_teacher,
            divisor=1 if resolution == 'full' else check_integer(f'{key}.resolution', resolution, 1, advice),
            chunk=None if chunk is None else check_integer(f'{key}.chunk', chunk, 1, 'valid: None, 16384'),
        )
        self.terms: LevelTerms | None = None
        self.weights = {'seg': checked['seg_weight'], 'kl': checked['kl_weight'], 'feature': checked['feature_weight']}
        self.supervision = supervision if seg_weight else dict.fromkeys(BRANCHES, 'none')
        self.logits = logits
        if feature_size is not None:
            check_integer(f'{key}.feature_size', feature_size, 1, 'valid: None, or an integer of at least 1')
        self.feature_size = feature_size
        self.level_decay = check_number(f'{key}.level_decay', level_decay, positive=False)
        self.learnable_weights = learnable_weights
        self.upsample = check_choice(f'{key}.upsample', upsample, UPSAMPLE)
        self.share_heads = share_heads
        used = [branch for branch in BRANCHES if self.paths[branch]]
        names = [f'loss_{branch}_seg' for branch in used if self.supervision[branch] != 'none']
        names += [f'loss_{branch}_kl' for branch in used] if self.weights['kl'] else []
        names += ['loss_feature'] if self.weights['feature'] else []
        self.loss_names = tuple(names)
        if not names:
            raise ConfigError(f'{key}: every weight is 0 and every supervision is off; nothing is left to learn')
        self.branches: dict[str, Branch] = {}
        self.heads: LevelHeads | None = None
        self.hints = nn.ModuleDict()
        self.log_variances = nn.ParameterDict()
        self._batches = 0

    @property
    def needs_labels(self) -> str | None:
        """Return the supervision of a branch."""
        used = (name for name in BRANCHES if self.paths[name] and self.supervision[name] != 'none')
        branch = next(used, None)
        if branch is None:
            return None
        return f"{branch}_supervision='{self.supervision[branch]}' learns from labels; use {branch}_supervision='none'"

    def student_taps(self) -> dict[str, str]:
        """Return the taps of all levels and, where it teaches, of the network's own logits."""
        taps = {**branch_taps('encoder', self.paths['encoder']), **branch_taps('decoder', self.paths['decoder'])}
        return taps if self.logits is None else {**taps, 'logits': self.logits}

    def teacher_taps(self) -> dict[str, str]:
        """Return no taps: the level that teaches is one of the student's, and may need its gradient."""
        return {}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Read the number of classes and the ignored label from the student's head."""
        counted = label_count(student)
        if self.num_classes is None:
            if counted is None:
                raise ConfigError(
                    f"{self.key}.num_classes is None, and '{type(student).__name__}' has no decode_head with "
                    'num_classes and no network with out_channels; set it here'
                )
            self.num_classes = counted[1]
        elif counted is not None and counted[1] != self.num_classes:
            raise ConfigError(
                f'{self.key}.num_classes is {self.num_classes} and {counted[0]} gives {counted[1]} labels; use '
                f'num_classes={counted[1]}, or leave it out'
            )
        if not self.options['include_background'] and self.num_classes < 3:
            raise ConfigError(
                f'{self.key}.include_background is False, which leaves one of {self.num_classes} classes; use True'
            )
        if self.ignore_index is None:
            ignored = head_attribute(student, 'ignore_index')
            self.ignore_index = 255 if ignored is None else ignored
        self.terms = LevelTerms(self.num_classes, self.ignore_index, **self.options)

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Find the order of the levels and create the heads."""
        levels: list[Tensor] = []
        for name in BRANCHES:
            if not self.paths[name]:
                continue
            unordered = read_levels(student_outputs, name, [])
            order = depth_order(f'{self.key}.{name}', unordered, name == 'decoder', given=len(self.paths[name]) > 1)
            self.branches[name] = self._branch(name, order, len(levels))
            levels += [unordered[index] for index in order]
        if len({level.ndim for level in levels}) > 1:
            raise ConfigError(f'{self.key}: encoder and decoder have different numbers of axes; tap one network')
        if self.logits is not None:
            self._check_logits(student_outputs['logits'], levels[0])
        self._make_heads(levels)
        if self.weights['feature']:
            hinted = {name: branch for name, branch in self.branches.items() if len(branch.levels) > 1}
            if not hinted:
                raise ConfigError(f'{self.key}.feature_weight needs a branch of at least two levels; use 0')
            for name, branch in hinted.items():
                self.hints[name] = LevelHints([levels[at] for at in branch.levels], self.feature_size)
        for name, distances in self._distances().items():
            shares = [self.level_decay**distance for distance in distances]
            if not any(shares):
                raise ConfigError(
                    f'{self.key}.level_decay is {self.level_decay}, which leaves nothing of {name}; use for example '
                    f'level_decay=0.5, or {name.rpartition("_")[2]}_weight=0.0'
                )
            self.register_buffer(f'shares_{name}', torch.tensor(shares, device=levels[0].device), persistent=False)
            if self.learnable_weights:
                self.log_variances[name] = nn.Parameter(levels[0].new_zeros(len(shares)))

    def _branch(self, name: str, order: list[int], first: int) -> Branch:
        positions = list(range(first, first + len(order)))
        supervised = {'all': positions, 'deepest': positions[-1:], 'none': []}[self.supervision[name]]
        students = positions if self.logits is not None else positions[:-1]
        if not self.weights['kl']:
            students = []
        elif not students:
            raise ConfigError(
                f"{self.key}.{name}: '{self.paths[name][0]}' gives one level, which has no other level to teach; tap "
                'at least two, or set kl_weight=0'
            )
        return Branch(order, positions, supervised, students, OUTPUT if self.logits is not None else positions[-1])

    def _check_logits(self, logits: Sequence[Tensor], level: Tensor) -> None:
        shapes = ', '.join(str(tuple(tensor.shape)) for tensor in logits)
        if len(logits) != 1 or logits[0].ndim != level.ndim or logits[0].shape[1] != self.num_classes:
            raise ConfigError(
                f"{self.key}.logits: '{self.logits}' gives {shapes}; it must give one map of {self.num_classes} "
                "classes, as 'decode_head.conv_seg' does in MMSegmentation"
            )

    def _make_heads(self, levels: list[Tensor]) -> None:
        assert self.num_classes is not None
        taught = [branch for branch in self.branches.values() if branch.students]
        learning = {at for branch in self.branches.values() for at in [*branch.supervised, *branch.students]}
        teaching = {branch.teacher for branch in taught} - {OUTPUT}
        with_head = {position: levels[position] for position in sorted(learning | teaching)}
        if not with_head:
            return
        key = f'{self.key}.upsample'
        self.heads = heads = LevelHeads(with_head, self.num_classes, self.upsample, self.share_heads, key)
        if self.share_heads and len(heads.members) == len(with_head):
            shapes = ', '.join(str(tuple(level.shape[1:])) for level in with_head.values())
            raise ConfigError(
                f'{self.key}.share_heads is True, and no two levels have the same channels and size ({shapes}); use '
                'False'
            )
        with_gradient = learning if self.options['detach_teacher'] else learning | teaching
        trained = {heads.member_of[position] for position in with_gradient}
        for name, branch in self.branches.items():
            if branch.teacher in teaching and heads.member_of[branch.teacher] not in trained:
                raise ConfigError(
                    f"{self.key}.{name}_supervision is 'none', so that the head of the level that teaches would never "
                    f"be trained; use {name}_supervision='deepest', or share_heads=True where a supervised level has "
                    'its channels and size'
                )

    def _distances(self) -> dict[str, list[int]]:
        """Return the distance in levels of each term of each loss to the deepest level of its branch."""
        distances: dict[str, list[int]] = {'loss_feature': []}
        for name, branch in self.branches.items():
            distances[f'loss_{name}_seg'] = [branch.levels[-1] - at for at in branch.supervised]
            distances[f'loss_{name}_kl'] = [branch.levels[-1] - at for at in branch.students]
            if name in self.hints:
                distances['loss_feature'] += [branch.levels[-1] - at for at in branch.levels[:-1]]
        return {name: distances[name] for name in self.loss_names}

    def spec(self) -> dict[str, Any]:
        """Return the index of each level's head, shallowest first, and the level that teaches."""
        heads = {} if self.heads is None else self.heads.member_of
        return {
            name: {
                'heads': [heads.get(at) for at in branch.levels],
                'teacher': 'logits' if branch.teacher == OUTPUT else f'level {len(branch.levels)}',
            }
            for name, branch in self.branches.items()
        }

    def read(self, student_outputs: Taps) -> list[Tensor]:
        """Return the features of all levels, encoder first, the deepest of each branch last."""
        branches = self.branches.items()
        return [level for name, branch in branches for level in read_levels(student_outputs, name, branch.order)]

    def level_logits(self, student_outputs: Taps, size: Sequence[int]) -> dict[str, list[Tensor]]:
        """Return the logits (N, num_classes, *size) of all levels that have a head, by branch, for pictures."""
        if self.heads is None:
            return {}
        maps = self.heads.whole(self.heads.project(self.read(student_outputs)), size)
        return {
            name: [maps[at] for at in branch.levels if at in self.heads.member_of]
            for name, branch in self.branches.items()
        }

    def _labels(self, batch: Batch, level: Tensor, inside: Tensor | None) -> Tensor | None:
        """Return the labels (N, *spatial), those of padding ignored; None if there are none and no level needs them."""
        labels = semantic_labels(self.key, batch, level.ndim - 2)
        if labels is None:
            if any(branch.supervised for branch in self.branches.values()):
                raise ConfigError(
                    f'{self.key}: data_samples have no gt_sem_seg, and levels learn from it; load segmentation labels '
                    '(in MMDetection, LoadAnnotations with with_seg=True)'
                )
            return None
        if inside is not None and self.ignore_index is not None:
            labels = ignore_padding(self.key, labels, inside.to(labels.device), self.ignore_index)
        self._check_labels(labels)
        return labels.to(level.device)

    def _check_labels(self, labels: Tensor) -> None:
        """Refuse foreign labels: at once on a CPU, else in every 50th batch, since reading waits for the device."""
        assert self.num_classes is not None and self.ignore_index is not None
        if labels.device.type == 'cpu' or self._batches % LABEL_INTERVAL == 0:
            check_labels(self.key, labels, self.num_classes, self.ignore_index)
        self._batches += 1

    def _head_terms(self, levels: list[Tensor], student_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return every loss of the heads, with one value per level."""
        if self.heads is None or self.terms is None:
            return {}
        (inside,) = positions_on_images([batch.inputs], batch)
        inside = None if inside is None else inside.view(-1, *batch.inputs.shape[2:])
        labels = self._labels(batch, levels[0], inside)
        size = tuple(batch.inputs.shape[2:] if labels is None else labels.shape[1:])
        logits = self.heads.project(levels)
        if self.logits is not None:
            logits[OUTPUT] = student_outputs['logits'][0]
        # Interpolation and means at the border of an image must not read padding.
        insides = positions_on_images(list(logits.values()), batch)
        logits = {at: replicate_edges(x, here) for (at, x), here in zip(logits.items(), insides)}
        return self.terms(self.heads, self.branches, logits, labels, size, inside)

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return the supervision and the divergences of both branches and, with a weight, ``loss_feature``."""
        levels = self.read(student_outputs)
        terms = self._head_terms(levels, student_outputs, batch)
        if self.hints:
            insides = positions_on_images(levels, batch)
            pairs = [
                pair
                for name, hints in self.hints.items()
                for pair in hints(*([every[at] for at in self.branches[name].levels] for every in (levels, insides)))
            ]
            distances = [mean_over_images(feature_mse(mine, taught, valid=valid)) for mine, taught, valid in pairs]
            terms['loss_feature'] = torch.stack(distances)
        losses = {name: self._total(name, terms[name]) for name in self.loss_names}
        # The head of a level of the labels' size does not use its upsampling, and DDP waits for every gradient.
        touched = torch.stack([param.sum() for param in self.parameters()]).sum() * 0
        return {name: loss + touched if name == self.loss_names[0] else loss for name, loss in losses.items()}

    def _total(self, name: str, values: Tensor) -> Tensor:
        if self.learnable_weights:
            values = uncertainty_weighted(values, self.log_variances[name])
        return self.weights[name.rpartition('_')[2]] * torch.dot(values, self.get_buffer(f'shares_{name}').to(values))
