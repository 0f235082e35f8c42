"""The number of detections of an image, which small images lower."""

from __future__ import annotations

from typing import Any

from mmengine.structures import InstanceData
from torch import Tensor


class DetectionLimit:
    """Mixin for a DETR head of MMDetection that lowers ``test_cfg.max_per_img`` where an image has fewer detections."""

    test_cfg: Any

    def _predict_by_feat_single(self, cls_score: Tensor, *args: Any, **kwargs: Any) -> InstanceData:
        """Return the detections of an image.

        ``test_cfg.max_per_img`` can be more than there are queries and classes, where an image is so small that it has
        fewer positions than the detector has queries. Without it, there are as many detections as queries.

        Args:
            cls_score: Class logits, (Q, C).
            args: As in MMDetection.
            kwargs: As in MMDetection.
        """
        configured = self.test_cfg
        settings = configured or {}  # MMDetection's detectors hand over None where the config has no test_cfg
        limit = min(settings.get('max_per_img', len(cls_score)), cls_score.numel())
        self.test_cfg = {**settings, 'max_per_img': limit}
        try:
            return super()._predict_by_feat_single(cls_score, *args, **kwargs)  # type: ignore[misc,no-any-return]
        finally:
            self.test_cfg = configured


__all__ = ['DetectionLimit']
