"""RoI heads whose stages can be asked about any RoIs.

Heads are recognised by their class names, so that no detection library needs to be imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import ConfigError
from ..taps import module_at
from ..utils.argument_types import shown
from ..utils.checks import is_integer

KINDS = ('StandardRoIHead', 'CascadeRoIHead')
PARTS = ('bbox_roi_extractor', 'bbox_head', 'mask_roi_extractor', 'mask_head')


@dataclass(frozen=True)
class RoIHead:
    """Constants of a RoI head; no module is kept.

    Attributes:
        cascade: Whether it has several stages.
        stages: Stages that are used.
        weights: Factor of each stage in the head's own loss.
        thresholds: Lowest IoU of a positive RoI of each stage.
        num_classes: Classes without background.
        boxes: What it predicts for boxes, for comparison and error sentences.
        masks: What it predicts for masks, for comparison and error sentences.
        no_masks: Why masks cannot be compared, empty where they can.
    """

    cascade: bool
    stages: tuple[int, ...]
    weights: tuple[float, ...]
    thresholds: tuple[float, ...]
    num_classes: int
    boxes: str
    masks: str
    no_masks: str

    @classmethod
    def of(
        cls, model: nn.Module, path: str, key: str, role: str, stages: str | Sequence[int], stages_key: str
    ) -> RoIHead:
        """Return the constants of a head.

        Args:
            model: The network.
            path: Path of the head.
            key: Config key of the path, for the error sentence.
            role: ``'student'`` or ``'teacher'``, for the error sentence.
            stages: ``'*'`` or numbers of stages.
            stages_key: Config key of the stages, for the error sentence.

        Raises:
            ConfigError: If the head cannot be asked about RoIs.
        """
        head: Any = module_at(model, path, key, role)
        where = f"{key}: '{path}' of the {role} is {type(head).__name__}"
        base = _base_of(head)
        if base is None or type(head)._bbox_forward is not base._bbox_forward:
            raise ConfigError(
                f'{where}, whose stages are not an extractor followed by a head; valid: StandardRoIHead '
                '(Faster and Mask R-CNN), CascadeRoIHead; for other heads there is FeatureDistiller'
            )
        cascade = base.__name__ == 'CascadeRoIHead'
        heads = list(head.bbox_head) if cascade else [head.bbox_head]
        assigners = head.bbox_assigner if cascade else [head.bbox_assigner]
        _check_heads(heads, where)
        return cls(
            cascade=cascade,
            stages=_stages(stages, len(heads), stages_key),
            weights=tuple(float(weight) for weight in head.stage_loss_weights) if cascade else (1.0,),
            thresholds=tuple(
                float(getattr(assigner, 'pos_iou_thr', 0.5)) for assigner in (assigners or [None] * len(heads))
            ),
            num_classes=int(heads[0].num_classes),
            boxes=', then '.join(map(_box_form, heads)),
            masks=_mask_form(head, cascade),
            no_masks=_why_no_masks(head, base),
        )

    def paths(self, path: str, stage: int) -> dict[str, str]:
        """Return the paths of the parts of a stage.

        Args:
            path: Path of the head.
            stage: Number of the stage.
        """
        return {part: f'{path}.{part}' + (f'.{stage}' if self.cascade else '') for part in PARTS}


def _base_of(head: nn.Module) -> Any:
    return next((cls for cls in type(head).__mro__ if cls.__name__ in KINDS), None)


def _check_heads(heads: Sequence[Any], where: str) -> None:
    for head in heads:
        if getattr(head.loss_cls, 'use_sigmoid', False) or getattr(head, 'custom_cls_channels', False):
            raise ConfigError(
                f'{where}, and its {type(head).__name__} has no softmax over classes and background; use '
                'loss_cls.use_sigmoid=False, or FeatureDistiller'
            )
        if not (head.with_cls and head.with_reg):
            raise ConfigError(
                f'{where}, and its {type(head).__name__} predicts no classes or no boxes; use a head with both, or '
                'FeatureDistiller'
            )


def _stages(stages: str | Sequence[int], count: int, key: str) -> tuple[int, ...]:
    if stages == '*':
        return tuple(range(count))
    numbers = isinstance(stages, (list, tuple)) and stages and all(is_integer(stage) for stage in stages)
    if not numbers or len(set(stages)) != len(stages) or not all(0 <= int(stage) < count for stage in stages):
        raise ConfigError(
            f"{key} is {shown(stages)}, and the head has {count} stages; valid: '*', or different numbers from 0 to "
            f'{count - 1}, such as ({count - 1},)'
        )
    return tuple(sorted(int(stage) for stage in stages))


def _box_form(head: Any) -> str:
    coder = head.bbox_coder
    scale = f'means {list(getattr(coder, "means", ()))} and stds {list(getattr(coder, "stds", ()))}'
    kind = 'one box' if head.reg_class_agnostic else 'a box of each class'
    return f'{kind} with {type(coder).__name__}, {scale}'


def _mask_form(head: Any, cascade: bool) -> str:
    if not head.with_mask:
        return 'no masks'
    first = head.mask_head[0] if cascade else head.mask_head
    return 'one mask' if getattr(first, 'class_agnostic', False) else 'a mask of each class'


def _why_no_masks(head: Any, base: Any) -> str:
    if not head.with_mask:
        return f'{type(head).__name__} has no mask head'
    if head.share_roi_extractor:
        return f'{type(head).__name__} has no mask_roi_extractor of its own, so the RoIs of its masks are not known'
    if type(head)._mask_forward is not base._mask_forward:
        return f'the masks of {type(head).__name__} are not an extractor followed by a head'
    return ''
