"""MMDetection's DETRs with fine-grained distribution refinement (FDR)."""

from __future__ import annotations

from typing import Any

from mmdet.models.detectors import DABDETR, DINO, DeformableDETR
from torch import Tensor

from ...errors import ConfigError
from ...registry import MODELS
from .decoders import FDRDABDecoder, FDRDeformableDecoder, FDRDinoDecoder
from .heads import FDRDABDETRHead, FDRDeformableDETRHead, FDRDINOHead


class FDRDetector:
    """Mixin for a DETR of MMDetection: the decoder with FDR in the place of the plain one, and a head that fits."""

    fdr_decoder: type
    fdr_head: type
    decoder: Any
    bbox_head: Any

    def __init__(self, *args: Any, decoder: dict[str, Any], bbox_head: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, decoder=decoder, bbox_head=self._fit_head(decoder, bbox_head), **kwargs)  # type: ignore[call-arg]

    def _fit_head(self, decoder: dict[str, Any], bbox_head: dict[str, Any]) -> dict[str, Any]:
        """Return the head's config with the number of decoder layers, after checking that the parts belong together.

        Raises:
            ConfigError: If the head has no FDR, or the decoder does not return all layers.
        """
        kind = bbox_head.get('type')
        found = MODELS.get(kind) if isinstance(kind, str) else kind
        if not (isinstance(found, type) and issubclass(found, self.fdr_head)):
            near = f'kd_plugins.{self.fdr_head.__name__}'
            raise ConfigError(f"model.bbox_head.type: '{kind}' is no head with FDR; nearest: '{near}'")
        if not decoder.get('return_intermediate', True):
            raise ConfigError(
                'model.decoder.return_intermediate: False, and FDR refines the boxes of every layer; set True'
            )
        return dict(bbox_head, num_decoder_layers=decoder['num_layers'])

    def _init_layers(self) -> None:
        """Make the plain layers, and put the decoder with FDR in the place of the plain one."""
        decoder: dict[str, Any] = self.decoder
        super()._init_layers()  # type: ignore[misc]
        self.decoder = self.fdr_decoder(**decoder)

    def _decode(self, **kwargs: Any) -> dict[str, Any]:
        """Run the decoder and return what the head takes."""
        states, refinement = self.decoder(refiner=self.bbox_head.refiner(), **kwargs)
        return dict(hidden_states=states, refinement=refinement)


@MODELS.register_module()
class FDRDINO(FDRDetector, DINO):
    """MMDetection's ``DINO`` with FDR; arguments as there, ``bbox_head`` is an ``FDRDINOHead``."""

    fdr_decoder = FDRDinoDecoder
    fdr_head = FDRDINOHead

    def forward_decoder(
        self,
        query: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        reference_points: Tensor,
        dn_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return hidden states and refinement; arguments as in MMDetection's ``DINO``."""
        found = self._decode(
            query=query,
            value=memory,
            key_padding_mask=memory_mask,
            self_attn_mask=dn_mask,
            reference_points=reference_points,
            **kwargs,
        )
        if self.training:
            # A batch without objects has no denoising queries, and DDP waits for the gradient of their embedding.
            unused = 0.0 * self.dn_query_generator.label_embedding.weight.sum()
            found['hidden_states'] = found['hidden_states'] + unused
        return found


@MODELS.register_module()
class FDRDeformableDETR(FDRDetector, DeformableDETR):
    """MMDetection's ``DeformableDETR``, single- or two-stage, with FDR; ``bbox_head`` is an ``FDRDeformableDETRHead``.

    FDR refines boxes whatever ``with_box_refine`` says; it counts as True.
    """

    fdr_decoder = FDRDeformableDecoder
    fdr_head = FDRDeformableDETRHead

    def __init__(self, *args: Any, with_box_refine: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, with_box_refine=True, **kwargs)

    def init_weights(self) -> None:
        """Start as the plain detector does."""
        super().init_weights()
        self.decoder.zero_new()

    def forward_decoder(
        self,
        query: Tensor,
        query_pos: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        reference_points: Tensor,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return hidden states and refinement; arguments as in MMDetection's ``DeformableDETR``."""
        return self._decode(
            query=query,
            query_pos=query_pos,
            value=memory,
            key_padding_mask=memory_mask,
            reference_points=reference_points,
            **kwargs,
        )


@MODELS.register_module()
class FDRDABDETR(FDRDetector, DABDETR):
    """MMDetection's ``DABDETR`` with FDR; ``bbox_head`` is an ``FDRDABDETRHead``."""

    fdr_decoder = FDRDABDecoder
    fdr_head = FDRDABDETRHead

    def forward_decoder(
        self, query: Tensor, query_pos: Tensor, memory: Tensor, memory_mask: Tensor | None, memory_pos: Tensor
    ) -> dict[str, Any]:
        """Return hidden states and refinement; arguments as in MMDetection's ``DABDETR``."""
        return self._decode(
            query=query,
            key=memory,
            query_pos=query_pos,
            key_pos=memory_pos,
            key_padding_mask=memory_mask,
        )
