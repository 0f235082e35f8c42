"""RT-DETR as a detector of MMDetection, which loads the released weights after a renaming of the keys."""

from __future__ import annotations

from typing import Any

from ...registry import MODELS
from ..dfine.native import HybridDETR
from .decoder import RTDETRDecoder
from .head import RTDETRHead


@MODELS.register_module()
class RTDETR(HybridDETR):
    """RT-DETR (arXiv 2304.08069) and RT-DETRv2 (arXiv 2407.17140), on MMDetection's ``DINO``.

    Both versions are one network: RT-DETRv2 may have another number of sampling points on each level and may sample the
    nearest cells, ``decoder.layer_cfg.cross_attn_cfg``.

    Args as in :class:`HybridDETR`; ``encoder`` is a :class:`HybridEncoder` with ``fusion='csp'`` and ``out_channels``,
    ``decoder`` holds the arguments of :class:`RTDETRDecoder`, and ``bbox_head`` is an :class:`RTDETRHead`.
    """

    fdr_decoder = RTDETRDecoder
    fdr_head = RTDETRHead
    kind_of_head = 'a head of RT-DETR'

    def _fit_head(self, decoder: dict[str, Any], bbox_head: dict[str, Any]) -> dict[str, Any]:
        """Return the head's config after checking that it fits; MMDetection's ``DINO`` adds the number of layers."""
        fitted = super()._fit_head(decoder, bbox_head)
        return {key: value for key, value in fitted.items() if key != 'num_decoder_layers'}

    def _decode(self, **kwargs: Any) -> dict[str, Any]:
        """Run the decoder and return the arguments of the head."""
        states, boxes = self.decoder(refiner=self.bbox_head.refiner(), **kwargs)
        return dict(hidden_states=states, boxes=boxes)


__all__ = ['RTDETR']
