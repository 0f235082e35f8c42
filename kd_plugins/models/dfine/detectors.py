"""MMDetection's DETRs with fine-grained distribution refinement (FDR)."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.detectors import DABDETR, DINO, DeformableDETR
from mmdet.structures import SampleList
from torch import Tensor

from ...errors import ConfigError
from ...registry import MODELS
from ...utils.argument_types import check_types, shown
from ...utils.build import check_arguments, check_settings, find_class, missing_arguments
from .decoders import FDRDABDecoder, FDRDeformableDecoder, FDRDinoDecoder
from .heads import FDRDABDETRHead, FDRDeformableDETRHead, FDRDINOHead
from .recomputed_parts import checked_recomputation


def _check_decoder(decoder: type, settings: Any) -> None:
    key, example = 'model.decoder', 'dict(num_layers=6, layer_cfg=dict(self_attn_cfg=..., cross_attn_cfg=...))'
    check_settings(decoder, settings, key, example)
    lacking = missing_arguments(decoder, settings, inherited=True)  # that of DAB-DETR has ``**kwargs``
    if lacking:
        raise ConfigError(f"{key} has no '{lacking[0]}'; give {example}")
    check_types(decoder, settings, key)


class FDRDetector:
    """Mixin for a DETR of MMDetection that replaces the decoder and checks the head."""

    fdr_decoder: type
    fdr_head: type
    kind_of_head = 'a head with FDR'
    recomputation_is_checked = False
    decoder: Any
    bbox_head: Any

    def __init__(self, *args: Any, decoder: dict[str, Any], bbox_head: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, decoder=decoder, bbox_head=self._fit_head(decoder, bbox_head), **kwargs)  # type: ignore[call-arg]

    def _fit_head(self, decoder: dict[str, Any], bbox_head: dict[str, Any]) -> dict[str, Any]:
        """Return the head's config with the number of decoder layers, after checking that decoder and head fit.

        Raises:
            ConfigError: If an argument is not one of the decoder or of the head, if the head has no FDR, or if the
                decoder does not return all layers.
        """
        _check_decoder(self.fdr_decoder, decoder)
        key, near = 'model.bbox_head', f'kd_plugins.{self.fdr_head.__name__}'
        if not isinstance(bbox_head, dict):
            raise ConfigError(f"{key} is {shown(bbox_head)}; give a dict with type='{near}'")
        name = bbox_head.get('type')
        try:
            head: type = find_class(MODELS, name, self.fdr_head, f'{key}.type')
        except ConfigError as error:
            sentence = f"{key}.type is {shown(name)}, which is not {self.kind_of_head}; nearest: '{near}'"
            raise ConfigError(sentence) from error
        settings = [argument for argument in bbox_head if argument not in ('type', '_scope_')]
        check_arguments(head, settings, key, inherited=True)
        if not decoder.get('return_intermediate', True):
            raise ConfigError(
                'model.decoder.return_intermediate is False, and FDR refines the boxes of every layer; set True'
            )
        return dict(bbox_head, num_decoder_layers=decoder['num_layers'])

    def _init_layers(self) -> None:
        """Create the plain layers, and replace the plain decoder by the decoder with FDR."""
        decoder: dict[str, Any] = self.decoder
        super()._init_layers()  # type: ignore[misc]
        self.decoder = self.fdr_decoder(**decoder)

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, *args: Any, **kwargs: Any
    ) -> dict[str, Tensor] | list[Tensor]:
        """Return the losses of a batch.

        Raises:
            ConfigError: If ``activation_checkpointing`` of the config names modules that would not be trained.
        """
        arguments = (batch_inputs, batch_data_samples, *args)
        if self.recomputation_is_checked or torch.compiler.is_compiling():
            return super().loss(*arguments, **kwargs)  # type: ignore[misc,no-any-return]
        with checked_recomputation(self):  # type: ignore[arg-type]
            losses = super().loss(*arguments, **kwargs)  # type: ignore[misc]
        self.recomputation_is_checked = torch.is_grad_enabled()
        return losses  # type: ignore[no-any-return]

    def _decode(self, **kwargs: Any) -> dict[str, Any]:
        """Run the decoder and return the arguments of the head."""
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
        head_inputs = self._decode(
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
            head_inputs['hidden_states'] = head_inputs['hidden_states'] + unused
        return head_inputs


@MODELS.register_module()
class FDRDeformableDETR(FDRDetector, DeformableDETR):
    """MMDetection's ``DeformableDETR``, single- or two-stage, with FDR; ``bbox_head`` is an ``FDRDeformableDETRHead``.

    FDR always refines boxes: ``with_box_refine`` is ignored and taken as True.
    """

    fdr_decoder = FDRDeformableDecoder
    fdr_head = FDRDeformableDETRHead

    def __init__(self, *args: Any, with_box_refine: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, with_box_refine=True, **kwargs)

    def init_weights(self) -> None:
        """Initialize the weights like the plain detector, and zero-initialize the new branch."""
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
