"""Mixin of the heads of D-FINE and RT-DETR: detections of the last layer, and a form for inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from torch import Tensor, nn

from .detection_limit import DetectionLimit


class DeployableHead(DetectionLimit):
    """Mixin for a DETR head of MMDetection that predicts from the last layer and can drop what only trains."""

    # Attributes of MMDetection's head.
    as_two_stage: bool
    cls_branches: Any
    predict_by_feat: Any
    kept_layer: int | None = None
    """The only layer with class scores, after :meth:`keep_layer`."""

    def last_layer(self, **outputs: Any) -> tuple[Tensor, Tensor]:
        """Return class logits (N, Q, C) and boxes (N, Q, 4) of the last layer that ran, which predicts.

        Args:
            outputs: Those of the decoder.
        """
        raise NotImplementedError

    def predict(self, batch_data_samples: SampleList, rescale: bool = True, **outputs: Any) -> InstanceList:
        """Return the detections of every image, from the last layer that ran.

        Args:
            batch_data_samples: Samples of the images.
            rescale: Whether boxes are in pixels of the original images.
            outputs: Those of the decoder.
        """
        scores, boxes = self.last_layer(**outputs)
        metas = [sample.metainfo for sample in batch_data_samples]
        return self.predict_by_feat(scores[None], boxes[None], batch_img_metas=metas, rescale=rescale)

    def scored_layers(self, count: int) -> Sequence[int]:
        """Return the indices of the layers with class scores among ``count`` layers that ran."""
        return range(count) if self.kept_layer is None else (self.kept_layer,)

    def layer_parts(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the lists of modules, one for each layer, that compute scores, and those that compute boxes."""
        raise NotImplementedError

    def keep_layer(self, layer: int) -> None:
        """Drop what only trains, for inference: scores of other layers than one, and boxes of later layers.

        The modules that are left keep their names in checkpoints. The last class and box branch, which select the
        queries of two-stage detectors, stay.

        Args:
            layer: Index of the decoder layer that predicts.
        """
        self.kept_layer = layer
        scores, boxes = self.layer_parts()
        for other in range(len(self.cls_branches) - self.as_two_stage):
            for modules in (*(scores if other != layer else ()), *(boxes if other > layer else ())):
                modules[other] = nn.Identity()


__all__ = ['DeployableHead']
