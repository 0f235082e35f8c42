"""Focal and global distillation: foreground, background, attention and global context of feature maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import MODELS
from ...utils.checks import check_adapter, check_choice, check_flag, check_levels, check_number, check_same_size
from ..adapting import adapt, make_adapters
from ..base import Batch, Taps
from ..paired import PairedDistiller, TapPair
from .context import LEAST_CHANNELS, GlobalContext
from .loss import FocalGlobalTerms, focal_global_terms, sum_over_levels
from .readers import READERS, maps_on_images, released_boxes_of_batch

TERMS = {'loss_fg': 'alpha', 'loss_bg': 'beta', 'loss_att': 'gamma', 'loss_rel': 'lamda'}
"""Name of each loss to the argument that is its factor, in the order of :class:`FocalGlobalTerms`."""


@MODELS.register_module()
class FocalGlobalDistiller(PairedDistiller):
    """Squared difference of feature maps, in and outside of objects, where the teacher's attention is.

    Source: FGD (arXiv 2111.11837). There are four losses, each a sum over positions, channels and levels and a mean
    over the images of all ranks (:func:`kd_plugins.distillers.focal_global.focal_global_terms`): ``loss_fg`` on the
    foreground, ``loss_bg`` on the background, ``loss_att``, the distance of the attention, and ``loss_rel``, the
    difference of the maps after the global context of each is added.

    Args:
        student_tap: Tap of the student's features, one map (N, C, H, W) per level.
        teacher_tap: Tap of the teacher's features, of the same height and width; None is the same path.
        foreground: What the objects are: the ``'boxes'`` or the ``'masks'`` of the ground truth.
        temperature: Temperature of the attention; lower is sharper.
        alpha: Factor of ``loss_fg``. A loss whose factor is 0 is left out.
        beta: Factor of ``loss_bg``.
        gamma: Factor of ``loss_att``.
        lamda: Factor of ``loss_rel``.
        freeze_teacher_block: Whether the teacher's context stays at its start, which is 0. Otherwise it is trained, as
            in the release, by the same loss that compares with it.
        reference: Whether boxes and padding are as in the released code: boxes are stretched on images with padding,
            and padding is background. Only for ``foreground='boxes'``.
        adapter: ``'auto'`` maps the student's channels where their number differs from the teacher's; None never does;
            a config is built once per level, with ``in_channels`` and ``out_channels`` filled in where they are
            missing.
        weight, source, key: See :class:`~kd_plugins.distillers.base.BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = tuple(TERMS)

    def __init__(
        self,
        student_tap: str = 'neck.fpn_convs.*',
        teacher_tap: str | None = None,
        foreground: str = 'boxes',
        temperature: float = 0.5,
        alpha: float = 1e-3,
        beta: float = 5e-4,
        gamma: float = 5e-4,
        lamda: float = 5e-6,
        freeze_teacher_block: bool = True,
        reference: bool = False,
        adapter: str | dict[str, Any] | None = 'auto',
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__([TapPair.of('student_tap', student_tap, 'teacher_tap', teacher_tap)], weight, source, key)
        self.foreground = check_choice(f'{key}.foreground', foreground, tuple(READERS))
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True, example=0.5)
        values = {'alpha': (alpha, 1e-3), 'beta': (beta, 5e-4), 'gamma': (gamma, 5e-4), 'lamda': (lamda, 5e-6)}
        self.factors = {
            name: check_number(f'{key}.{name}', value, positive=False, example=usual)
            for name, (value, usual) in values.items()
        }
        self.loss_names = tuple(loss for loss, name in TERMS.items() if self.factors[name] > 0)
        self.freeze_teacher_block = check_flag(f'{key}.freeze_teacher_block', freeze_teacher_block)
        self.reference = check_flag(f'{key}.reference', reference)
        self.adapter = check_adapter(f'{key}.adapter', adapter)
        self._check_together()
        self.adapters = nn.ModuleList()
        self.student_blocks = nn.ModuleList()
        self.teacher_blocks = nn.ModuleList()

    def _check_together(self) -> None:
        if not self.loss_names:
            raise ConfigError(
                f'{self.key}: alpha, beta, gamma and lamda are 0, so nothing is compared; nearest: alpha=0.001'
            )
        if self.reference and not self._reads_objects:
            raise ConfigError(
                f'{self.key}.reference is True, which changes foreground and background, and alpha and beta are 0; '
                'set reference=False'
            )
        if self.reference and self.foreground != 'boxes':
            raise ConfigError(
                f"{self.key}.reference is True with foreground='{self.foreground}', which the release does not have; "
                "use foreground='boxes'"
            )
        if not self.freeze_teacher_block and self.factors['lamda'] == 0:
            raise ConfigError(
                f'{self.key}.freeze_teacher_block is False, and lamda is 0, so that there is no context to train; '
                'leave freeze_teacher_block out'
            )

    @property
    def _reads_objects(self) -> bool:
        return self.factors['alpha'] > 0 or self.factors['beta'] > 0

    @property
    def needs_labels(self) -> str | None:
        """Return the objects of ``loss_fg``."""
        return 'loss_fg is that of labelled objects; use alpha=0' if self.factors['alpha'] > 0 else None

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check the shapes and create adapters and global contexts."""
        student_levels, teacher_levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        key = f'{self.key}.student_tap'
        check_levels(key, student_levels, teacher_levels, 'features')
        for level in student_levels:
            if level.ndim != 4:
                raise ConfigError(
                    f'{key}: a feature has shape {tuple(level.shape)}, and objects are found on maps (N, C, H, W); tap '
                    "layers that give maps, such as 'neck.fpn_convs.*'"
                )
        self.adapters, adapted = make_adapters(self.key, self.adapter, student_levels, teacher_levels)
        check_same_size(key, adapted, teacher_levels, 'both must have the same positions')
        if self.factors['lamda'] > 0:
            self.student_blocks = self._blocks(teacher_levels)
            if not self.freeze_teacher_block:
                self.teacher_blocks = self._blocks(teacher_levels)

    def _blocks(self, levels: Any) -> nn.ModuleList:
        for level in levels:
            if level.shape[1] < LEAST_CHANNELS:
                raise ConfigError(
                    f'{self.key}.lamda: the global context needs at least {LEAST_CHANNELS} channels, and a feature of '
                    f'the teacher has shape {tuple(level.shape)}; set lamda=0'
                )
        return nn.ModuleList(GlobalContext(level.shape[1]).to(level.device) for level in levels)

    def scales(self, levels: Any, insides: Any, batch: Batch) -> list[Tensor]:
        """Return the weights of the foreground of each level, (N, H, W).

        Args:
            levels: Maps (N, C, H, W).
            insides: Which positions lie on images, see :func:`~.readers.maps_on_images`.
            batch: The batch.
        """
        if not self._reads_objects or (self.on == 'unlabelled' and self.factors['alpha'] == 0):
            return [torch.zeros_like(level[:, 0]) for level in levels]
        reader = released_boxes_of_batch if self.reference else READERS[self.foreground]
        return reader(batch, levels, insides, self.key)

    def _context(self, index: int, student: Tensor, teacher: Tensor, inside: Tensor | None) -> Tensor | None:
        if not self.student_blocks:
            return None
        context: Tensor = self.student_blocks[index](student, inside)
        return context - self.teacher_blocks[index](teacher, inside) if self.teacher_blocks else context

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return the losses whose factors are above 0."""
        student_levels, teacher_levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        insides = [None] * len(teacher_levels) if self.reference else maps_on_images(teacher_levels, batch)
        scales = self.scales(teacher_levels, insides, batch)
        adapted = adapt(self.adapters, student_levels, insides, batch, self.key)
        levels: list[FocalGlobalTerms] = []
        for index, (s, t) in enumerate(zip(adapted, teacher_levels)):
            student, teacher = s.flatten(2), t.flatten(2)
            inside = insides[index]
            inside = None if inside is None else inside.flatten(1)
            context = self._context(index, student, teacher, inside)
            levels.append(
                focal_global_terms(student, teacher, scales[index].flatten(1), self.temperature, context, inside)
            )
        terms = dict(zip(TERMS, sum_over_levels(levels)))
        return {name: self.factors[TERMS[name]] * terms[name] for name in self.loss_names}
