"""RT-DETR's decoder: post-norm layers, and query positions from boxes without sines and without a limit.

Source: lyuwenyu/RT-DETR, ``src/zoo/rtdetr/rtdetr_decoder.py`` and ``rtdetrv2_decoder.py``.
"""

from __future__ import annotations

from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import ModuleList
from torch import Tensor

from ..dfine.native.decoder import DFINEDecoder, DFINEDecoderLayer
from .attention import Memory, ProjectedDeformableAttention, Shapes


class RTDETRDecoderLayer(DFINEDecoderLayer):
    """Self attention, deformable attention around the query's box, and feed-forward network, each with a norm.

    Args as in MMDetection's layer; ``cross_attn_cfg`` holds those of :class:`ProjectedDeformableAttention`.
    """

    attention = ProjectedDeformableAttention

    def _init_layers(self) -> None:
        """Create attentions, feed-forward network, and a norm after each."""
        self._init_attentions()
        self.ffn = FFN(**self.ffn_cfg)
        self.norms = ModuleList(build_norm_layer(self.norm_cfg, self.embed_dims)[1] for _ in range(3))

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        query_pos: Tensor,
        boxes: Tensor,
        values: Memory,
        self_attn_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the queries after this layer, (N, Q, C); arguments as in :meth:`DFINEDecoderLayer.forward`."""
        query = self.norms[0](query + self.attend(query, query + query_pos, self_attn_mask))
        query = self.norms[1](query + self.cross_attn(query + query_pos, boxes, values))
        return self.norms[2](self.ffn(query))


class RTDETRDecoder(DFINEDecoder):
    """Decoder layers that shift boxes; arguments as in :class:`DFINEDecoder`, for :class:`RTDETRDecoderLayer`."""

    layer_class = RTDETRDecoderLayer
    position_limit = None

    def values(self, memory: Tensor, shapes: Shapes, mask: Tensor | None) -> Memory:
        """Return the encoder's memory, which every layer projects for itself."""
        return Memory(memory, shapes, mask)


__all__ = ['RTDETRDecoder', 'RTDETRDecoderLayer']
