"""D-FINE as a detector of MMDetection, which loads the released weights after a renaming of the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.detectors import DeformableDETR
from mmdet.structures import OptSampleList, SampleList
from torch import Tensor, nn

from ....config.pretrained import pretrained_entries
from ....errors import ConfigError
from ....ops.memory import contiguous_gradient
from ....registry import MODELS
from ....utils.build import build
from ....utils.checks import check_integer
from ...hybrid_encoder import HybridEncoder
from ..detectors import FDRDINO
from .decoder import DFINEDecoder
from .denoising import DFINEQueryGenerator, check_denoising
from .query_selection import anchors, best_positions, take


class HybridDETR(FDRDINO):
    """MMDetection's ``DINO`` with an encoder of its own, whose tokens become the queries: base of D-FINE and RT-DETR.

    The encoder is a network of its own. The query content is the encoder's token, and no part has an encoding of sines
    or a learned embedding of the level. Images of any size are taken; images of different sizes in one batch are padded
    as in MMDetection.

    Args:
        backbone: A backbone, such as :class:`HGNetV2`.
        neck: Projection of each level to the width of the encoder, such as MMDetection's ``ChannelMapper``.
        encoder: A module from feature maps to feature maps, such as :class:`HybridEncoder`.
        decoder: Arguments of the decoder, :class:`DFINEDecoder` or :class:`RTDETRDecoder`.
        bbox_head: The head; its ``embed_dims`` is the width of the decoder.
        dn_cfg: Arguments of :class:`DFINEQueryGenerator`, as in MMDetection's ``DINO``.
        num_queries: Number of queries.
        kwargs: As in MMDetection's ``DINO``.

    Raises:
        ConfigError: If parts of the decoder do not fit each other.
    """

    encoder: Any
    dn_query_generator: Any

    def __init__(
        self,
        *args: Any,
        decoder: dict[str, Any],
        dn_cfg: dict[str, Any] | None = None,
        num_queries: int = 300,
        **kwargs: Any,
    ) -> None:
        check_integer('model.num_queries', num_queries, 1, 'valid: a positive integer, such as 300')
        dn_cfg = dict(group_cfg=dict(dynamic=True, num_dn_queries=100)) if dn_cfg is None else dn_cfg
        check_denoising(dn_cfg)
        dn_cfg = dict(dn_cfg)
        kwargs |= dict(with_box_refine=True, as_two_stage=True)
        super().__init__(*args, decoder=decoder, dn_cfg=dn_cfg, num_queries=num_queries, **kwargs)
        # DINO has added the numbers of classes, queries and channels.
        self.dn_query_generator = DFINEQueryGenerator(**dn_cfg)

    def _init_layers(self) -> None:
        """Create encoder, decoder and the transformation of the memory for the selection of queries."""
        self.encoder = build(MODELS, self.encoder, nn.Module, 'model.encoder')
        self.decoder = self.fdr_decoder(**self.decoder)
        self.embed_dims: int = self.decoder.embed_dims
        if self.bbox_head.embed_dims != self.embed_dims:
            raise ConfigError(
                f'model.bbox_head.embed_dims is {self.bbox_head.embed_dims}, but the decoder has '
                f'{self.embed_dims} channels; set model.bbox_head.embed_dims={self.embed_dims}'
            )
        width = getattr(self.encoder, 'out_channels', self.embed_dims)
        if width != self.embed_dims:
            raise ConfigError(
                f'model.encoder gives {width} channels, but the decoder has {self.embed_dims}; set '
                f'model.encoder.out_channels={self.embed_dims}'
            )
        self.num_feature_levels = len(self.decoder.layers[0].cross_attn.num_points)
        self.memory_trans_fc = nn.Linear(self.embed_dims, self.embed_dims)
        self.memory_trans_norm = nn.LayerNorm(self.embed_dims)

    def init_weights(self) -> None:
        """Initialize as the release does: PyTorch's defaults where a part has no rule of its own.

        Weights of a file, from ``init_cfg=dict(type='Pretrained', ...)``, stay, and a second call changes nothing.
        """
        was_initialised = self.is_init
        super(DeformableDETR, self).init_weights()
        if was_initialised or pretrained_entries(self.init_cfg):
            return
        neck = self.neck if self.with_neck else None
        if not pretrained_entries(getattr(neck, 'init_cfg', None)):
            for module in () if neck is None else neck.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()
        nn.init.xavier_uniform_(self.memory_trans_fc.weight)

    @property
    def deployed(self) -> bool:
        """Whether the parts that only train are gone."""
        return self.dn_query_generator is None

    def switch_to_deploy(self) -> None:
        """Drop what only trains: decoder layers after ``eval_idx``, scores of earlier ones and denoising queries.

        The predictions stay the same; a second call changes nothing. Called by
        :func:`kd_plugins.models.reparameterization.switch_to_deploy`, which fuses convolutions and norms as well.
        """
        self.decoder.drop_later_layers()
        self.bbox_head.keep_layer(self.decoder.eval_idx)
        self.dn_query_generator = None

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, *args: Any, **kwargs: Any
    ) -> dict[str, Tensor] | list[Tensor]:
        """Return the losses of a batch.

        Raises:
            ConfigError: If the detector was changed for inference.
        """
        if self.deployed:
            raise ConfigError(
                f'model: this {type(self).__name__} was fused for inference by switch_to_deploy, which drops what '
                'training needs; build it from its config again'
            )
        return super().loss(batch_inputs, batch_data_samples, *args, **kwargs)

    def raw_predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits (N, Q, C) and normalised boxes (cx, cy, w, h), (N, Q, 4), of whole images.

        Args:
            images: From the data preprocessor, (N, 3, H, W), not padded.
        """
        return self.bbox_head.last_layer(**self.forward_transformer(self.extract_feat(images)))

    def pre_transformer(
        self, mlvl_feats: Sequence[Tensor], batch_data_samples: OptSampleList = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run the encoder, and return its flattened maps as arguments of the next steps.

        Args:
            mlvl_feats: Maps of the neck, fine to coarse, (N, C, height, width) each.
            batch_data_samples: Samples with ``img_shape`` and ``batch_input_shape``; without them no image is padded.

        Raises:
            ConfigError: If the decoder has another number of levels.
        """
        # An encoder of another kind takes the maps alone.
        masked = isinstance(self.encoder, HybridEncoder)
        maps = self.encoder(mlvl_feats, *([self.padding(mlvl_feats, batch_data_samples)] if masked else []))
        if len(maps) != self.num_feature_levels:
            raise ConfigError(
                f'model.encoder has {len(maps)} levels, but model.decoder.layer_cfg.cross_attn_cfg.num_points has '
                f'{self.num_feature_levels} entries; give one for each level'
            )
        shapes = [(features.shape[2], features.shape[3]) for features in maps]
        memory = torch.cat([contiguous_gradient(features).flatten(2).transpose(1, 2) for features in maps], dim=1)
        common: dict[str, Any] = dict(memory_mask=None, shapes=shapes, valid_ratios=None)
        masks = self.padding(maps, batch_data_samples)
        if masks is not None:
            common['memory_mask'] = torch.cat([mask.flatten(1) for mask in masks], dim=1)
            common['valid_ratios'] = torch.stack([self.get_valid_ratio(mask) for mask in masks], dim=1)
        return dict(memory=memory, **common), common

    def padding(self, maps: Sequence[Tensor], batch_data_samples: OptSampleList) -> list[Tensor] | None:
        """Return the padded cells of each map, (N, height, width), None if no image is padded."""
        samples = batch_data_samples or []
        whole = tuple(samples[0].batch_input_shape) if samples else ()
        if all(tuple(sample.img_shape[:2]) == whole for sample in samples):
            return None
        outside = maps[0].new_ones(len(samples), 1, *whole)
        for image, sample in zip(outside, samples):
            height, width = sample.img_shape[:2]
            image[:, :height, :width] = 0
        return [nn.functional.interpolate(outside, size=features.shape[2:])[:, 0].bool() for features in maps]

    def forward_encoder(self, **encoder_inputs: Any) -> dict[str, Any]:
        """Return the arguments unchanged: the encoder has run before its maps were flattened."""
        return encoder_inputs

    def pre_decoder(
        self,
        memory: Tensor,
        memory_mask: Tensor | None,
        shapes: Sequence[tuple[int, int]],
        valid_ratios: Tensor | None,
        batch_data_samples: OptSampleList = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Select the queries, and return the arguments of the decoder and of the head.

        Args:
            memory: (N, P, C).
            memory_mask: Padded positions, (N, P).
            shapes: Height and width of each level.
            valid_ratios: (N, levels, 2).
            batch_data_samples: Ground truth, in training.
        """
        dtype = torch.float64 if memory.dtype == torch.float64 else torch.float32
        grid = anchors(shapes, memory.device, dtype, valid_ratios, memory_mask)
        tokens = self.memory_trans_norm(self.memory_trans_fc(memory.masked_fill(~grid.valid, 0.0)))
        last = self.decoder.num_layers
        scores = self.bbox_head.cls_branches[last](tokens)
        positions = best_positions(scores, self.num_queries)
        content = take(tokens, positions)
        logits = self.bbox_head.reg_branches[last](content) + take(grid.logits, positions)
        query, references, dn_mask = content.detach(), logits.detach(), None
        head_inputs: dict[str, Any] = {}
        if self.training:
            dn_query, dn_logits, dn_mask, dn_meta = self.dn_query_generator(batch_data_samples)
            query = torch.cat([dn_query.to(query.dtype), query], dim=1)
            references = torch.cat([dn_logits.to(references.dtype), references], dim=1)
            # Small images have fewer positions than queries.
            dn_mask = dn_mask[: query.shape[1], : query.shape[1]]
            head_inputs = dict(
                enc_outputs_class=take(scores, positions), enc_outputs_coord=logits.sigmoid(), dn_meta=dn_meta
            )
        decoder_inputs = dict(query=query, memory=memory, reference_points=references.sigmoid(), dn_mask=dn_mask)
        return decoder_inputs, head_inputs


@MODELS.register_module()
class DFINE(HybridDETR):
    """D-FINE (arXiv 2410.13842) of the sizes N, S, M, L and X.

    Args as in :class:`HybridDETR`; ``decoder`` holds those of :class:`DFINEDecoder`, and ``bbox_head`` is an
    :class:`FDRDINOHead`.
    """

    fdr_decoder = DFINEDecoder


__all__ = ['DFINE', 'HybridDETR']
