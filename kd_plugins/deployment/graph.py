"""D-FINE and RT-DETR as a function of two tensors, the form that is exported."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError

INPUTS = ('images', 'sizes')
OUTPUTS = ('labels', 'boxes', 'scores')


class DetectorGraph(nn.Module):
    """Detector from images and their original sizes to labels, boxes and scores, without NMS.

    Inputs and outputs are those of the release's own export. The normalisation of the config is inside.

    Args:
        detector: A :class:`DFINE` or :class:`RTDETR` in evaluation mode.

    Raises:
        ConfigError: If the model is something else.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, detector: Any) -> None:
        super().__init__()
        from ..models.dfine.native import HybridDETR

        if not isinstance(detector, HybridDETR):
            raise ConfigError(
                f"model.type '{type(detector).__name__}' cannot be exported here; valid: 'kd_plugins.DFINE', "
                "'kd_plugins.RTDETR'; MMDeploy exports the models of OpenMMLab's packages"
            )
        self.detector = detector
        preprocessor = detector.data_preprocessor
        normalized = getattr(preprocessor, '_enable_normalize', False)
        mean = preprocessor.mean if normalized else torch.zeros(1)
        std = preprocessor.std if normalized else torch.ones(1)
        self.flip = not getattr(preprocessor, '_channel_conversion', False)
        """Whether the detector sees BGR: MMCV loads images so, and the preprocessor may swap the channels."""
        self.register_buffer('scale', (255.0 / std.detach().float()).view(-1, 1, 1), persistent=False)
        self.register_buffer('shift', (mean.detach().float() / std.detach().float()).view(-1, 1, 1), persistent=False)
        self.is_plain = bool((self.scale == 1).all() and (self.shift == 0).all())

    def normalize(self, images: Tensor) -> Tensor:
        """Return the images as the detector's preprocessor gives them; RGB in 0..1 is that of the release."""
        images = images.flip(1) if self.flip else images
        return images if self.is_plain else images * self.scale - self.shift

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return labels (N, K), boxes (N, K, 4) as (x1, y1, x2, y2), and scores (N, K), best first.

        Args:
            images: RGB in 0..1, (N, 3, H, W).
            sizes: Width and height of the original images, int64, (N, 2); the boxes are in their pixels.
        """
        logits, boxes = self.detector.raw_predictions(self.normalize(images))
        queries, classes = int(logits.shape[1]), int(logits.shape[2])
        number = min((self.detector.test_cfg or {}).get('max_per_img', queries), queries * classes)
        scores, index = logits.sigmoid().flatten(1).topk(number, dim=1)
        # A division that is cut off is one node; parsers of other runtimes lack the remainder of integers.
        query = torch.div(index, classes, rounding_mode='trunc')
        labels = index - query * classes
        chosen = boxes.gather(1, query[..., None].expand(-1, -1, 4))
        center, half = chosen[..., :2], chosen[..., 2:] / 2
        # Corners are moved into the image, as MMDetection does.
        corners = torch.cat([center - half, center + half], dim=-1).clamp(min=0.0, max=1.0)
        return labels, corners * torch.cat([sizes, sizes], dim=1)[:, None].to(corners.dtype), scores


__all__ = ['INPUTS', 'OUTPUTS', 'DetectorGraph']
