"""Boxes that dense heads predict, decoded from the outputs of their last layers.

Heads are recognised by their class names, so that no detection library needs to be imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..ops.boxes import distances_to_boxes, expected_distances, to_corners
from .locations import Grid, grid_locations, level_grids, location_rows

LARGEST_LOG = 10.0
"""Largest logarithm of a distance or of a side, in strides, so that areas stay finite in float32."""

Distances = Callable[[Tensor, Tensor], Tensor]
"""Map of outputs (N, L, K) and strides (L, 1) to distances to the four edges, (N, L, 4), in pixels."""


def _exp(raw: Tensor) -> Tensor:
    return raw.clamp(max=LARGEST_LOG).exp()


DISTANCES: dict[str, Distances] = {
    'pixels_log': lambda raw, stride: _exp(raw),
    'strides': lambda raw, stride: raw * stride,
    'strides_log': lambda raw, stride: _exp(raw) * stride,
    'strides_positive': lambda raw, stride: raw.clamp(min=0) * stride,
    'strides_bins': lambda raw, stride: expected_distances(raw.unflatten(-1, (4, -1))) * stride,
}
"""Forms of the outputs of heads that predict distances from a location to the edges of its box."""


class Layers(NamedTuple):
    """Last layers of a head, as paths below it, and the form of its box outputs.

    The form is a key of :data:`DISTANCES`, ``'deltas'`` (of an anchor) or ``'centers'`` (offset and log size, in
    strides). Where a head predicts objectness as well, its score is the product of both probabilities to the power of
    ``exponent``. ``centerness`` is the layer of heads that tell how central a location is in its object.
    """

    boxes: str
    scores: str
    form: str
    objectness: str | None = None
    exponent: float = 1.0
    centerness: str | None = None


def _layers_of_fcos(head: Any) -> Layers:
    form = 'strides_positive' if head.norm_on_bbox else 'pixels_log'
    return Layers('scales.*', 'conv_cls', form, centerness='conv_centerness')


def _layers_of_rtmdet(head: Any) -> Layers:
    # The scales get the exponential of the layer before them.
    return Layers('scales.*', 'rtm_cls', 'strides', 'rtm_obj' if head.with_objectness else None, exponent=0.5)


def _layers_of_separate_rtmdet(head: Any) -> Layers:
    form = 'strides_log' if head.exp_on_reg else 'strides'
    return Layers('rtm_reg.*', 'rtm_cls.*', form, 'rtm_obj.*' if head.with_objectness else None, exponent=0.5)


HEADS: dict[str, Callable[[Any], Layers]] = {
    'ATSSHead': lambda head: Layers('scales.*', 'atss_cls', 'deltas', centerness='atss_centerness'),
    'FCOSHead': _layers_of_fcos,
    'GFLHead': lambda head: Layers('scales.*', 'gfl_cls', 'strides_bins'),
    'RetinaHead': lambda head: Layers('retina_reg', 'retina_cls', 'deltas'),
    'RTMDetHead': _layers_of_rtmdet,
    'RTMDetSepBNHead': _layers_of_separate_rtmdet,
    'YOLOXHead': lambda head: Layers(
        'multi_level_conv_reg.*', 'multi_level_conv_cls.*', 'centers', 'multi_level_conv_obj.*'
    ),
}
"""MMDetection's heads whose boxes can be decoded, with their layers."""


def layers_of(head: nn.Module | None) -> Layers | None:
    """Return the last layers of a head, None for one that is not in :data:`HEADS`."""
    names = [cls.__name__ for cls in type(head).__mro__ if cls.__name__ in HEADS]
    return HEADS[names[0]](head) if names else None


@dataclass(frozen=True)
class BoxDecoder:
    """Decoder of the boxes of one head; it keeps constants of the head and no module.

    Attributes:
        layers: Last layers of the head.
        grids: Grid of each level.
        anchors: Number of anchors in a cell.
        prior_generator: Copy of the head's generator of anchors or points.
        coder: Copy of the head's box coder, None where the head has none.
    """

    layers: Layers
    grids: list[Grid]
    anchors: int
    prior_generator: Any
    coder: Any

    @classmethod
    def of(cls, head: nn.Module, where: str) -> BoxDecoder:
        """Return the decoder of a head.

        Args:
            head: The head.
            where: Start of the error sentence, which names the config key and the head.

        Raises:
            ConfigError: If the boxes of the head cannot be decoded.
        """
        base = next((cls for cls in type(head).__mro__ if cls.__name__ in HEADS), None)
        # A head that changes the forward pass of the class that it is derived from may have other layers.
        if base is None or any(
            getattr(type(head), name, None) is not getattr(base, name, None) for name in ('forward', 'forward_single')
        ):
            raise ConfigError(
                f'{where} is {type(head).__name__}, whose boxes cannot be decoded location by location; valid: '
                f'{", ".join(HEADS)}; for other heads there are LogitDistiller and FeatureDistiller'
            )
        if not getattr(head, 'use_sigmoid_cls', True):
            raise ConfigError(
                f'{where} has a softmax over classes; one sigmoid per class is needed, so set loss_cls.use_sigmoid=True'
            )
        details: Any = head
        generator = deepcopy(details.prior_generator)
        return cls(
            layers=HEADS[base.__name__](head),
            grids=level_grids(generator),
            anchors=int(generator.num_base_priors[0]),
            prior_generator=generator,
            coder=deepcopy(getattr(head, 'bbox_coder', None)),
        )

    def fits(self, channels: int) -> bool:
        """Return whether a map with so many channels can hold the outputs of the box layer."""
        return channels % 4 == 0 if self.layers.form == 'strides_bins' else channels == 4 * self.anchors

    @property
    def cells(self) -> str:
        """Number of boxes in a cell and strides of the levels, for comparison and error sentences."""
        strides = [stride[0] if stride[0] == stride[1] else stride for stride, _ in self.grids]
        return f'{self.anchors} in each cell at strides {strides}'

    def centers(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the centres (x, y) of all locations, shape (L, 2), in pixels.

        Args:
            levels: A map (N, K, H, W) of each level.
        """
        return grid_locations(levels, self.grids)[0].repeat_interleave(self.anchors, dim=0)

    def __call__(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the boxes of all locations, corners in pixels, shape (N, L, 4).

        Args:
            levels: Outputs of the box layers, (N, K, H, W) per level.
        """
        raw = location_rows(levels, anchors=self.anchors)
        if self.layers.form == 'deltas':
            return self._from_anchors(raw, levels)
        centers, strides = grid_locations(levels, self.grids)
        if self.layers.form == 'centers':
            return to_corners(torch.cat([raw[..., :2] * strides + centers, _exp(raw[..., 2:]) * strides], dim=-1))
        return distances_to_boxes(centers, DISTANCES[self.layers.form](raw, strides[:, :1]))

    def _from_anchors(self, raw: Tensor, levels: Sequence[Tensor]) -> Tensor:
        sizes = [level.shape[-2:] for level in levels]
        anchors = torch.cat(self.prior_generator.grid_priors(sizes, dtype=raw.dtype, device=raw.device))
        # The coder decodes the locations of one image at a time; its batched form is deprecated.
        boxes = self.coder.decode(anchors.repeat(len(raw), 1), raw.flatten(0, 1))
        return getattr(boxes, 'tensor', boxes).view(raw.shape)


def check_same_cells(key: str, head: str, student: BoxDecoder, teacher: BoxDecoder) -> None:
    """Refuse two heads whose boxes lie in different cells.

    Args:
        key: Config key of the distiller.
        head: Path of both heads.
        student: Decoder of the student's head.
        teacher: Decoder of the teacher's head.

    Raises:
        ConfigError: If strides or the number of boxes in a cell differ.
    """
    if student.cells != teacher.cells:
        raise ConfigError(
            f"{key}: the student's '{head}' predicts {student.cells} and the teacher's {teacher.cells}; both must "
            'predict equally many boxes in the same cells'
        )
