"""Decoders of MMDetection's DETRs with reference boxes from FDR.

Each has the parameters of its plain form under the same names. In the plain forms, the box branch of every layer shifts
the boxes; here the head's :class:`~kd_plugins.models.dfine.refinement.BoxRefiner` does.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.layers import DinoTransformerDecoder
from mmdet.models.layers.transformer import DABDetrTransformerDecoder, DeformableDetrTransformerDecoder
from mmdet.models.layers.transformer.utils import coordinate_to_encoding
from torch import Tensor

from .refinement import BoxRefiner, Refinement, perceptron, zero_last


def on_levels(reference: Tensor, valid_ratios: Tensor) -> Tensor:
    """Return reference boxes or points relative to the padded map of each level, (N, Q, levels, 4 or 2).

    Args:
        reference: (N, Q, 4 or 2), relative to the image.
        valid_ratios: Width and height of the image relative to the padded map, (N, levels, 2).
    """
    return reference[:, :, None] * valid_ratios.repeat(1, 1, reference.shape[-1] // 2)[:, None]


class FDRDinoDecoder(DinoTransformerDecoder):
    """DINO's decoder with FDR; as in the plain form, the query position comes from the refined box."""

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        valid_ratios: Tensor,
        refiner: BoxRefiner,
        **kwargs: Any,
    ) -> tuple[Tensor, Refinement]:
        """Run all layers.

        Args:
            query: (N, Q, C).
            reference_points: Boxes that the queries start from, (N, Q, 4).
            valid_ratios: (N, levels, 2).
            refiner: A new refiner of the head.
            kwargs: Arguments of every layer: ``value``, the encoder memory (N, points, C), and masks, shapes and start
                indices of its levels.

        Returns:
            Normalised hidden states, (L, N, Q, C), and the refinement of the boxes.
        """
        states = []
        # Numbers for each coordinate: 128 in MMDetection, embed_dims in the maintained fork.
        frequencies = self.ref_point_head.layers[0].in_features // 4
        for layer in self.layers:
            boxes = on_levels(reference_points, valid_ratios)
            position = self.ref_point_head(coordinate_to_encoding(boxes[:, :, 0], num_feats=frequencies))
            query = layer(query, query_pos=position, valid_ratios=valid_ratios, reference_points=boxes, **kwargs)
            states.append(self.norm(query))
            reference_points = refiner(states[-1], reference_points)
        return torch.stack(states), refiner.result()


class FDRDeformableDecoder(DeformableDetrTransformerDecoder):
    """Deformable DETR's decoder with FDR; from the second layer on, the refined box adds to the query position.

    The new branch ``query_position`` is initialized to 0, so that a plain checkpoint gives unchanged predictions.
    """

    def _init_layers(self) -> None:
        """Create the plain layers and the branch from a box to a query position."""
        super()._init_layers()
        self.query_position = perceptron([4, 2 * self.embed_dims, self.embed_dims])

    def zero_new(self) -> None:
        """Zero-initialize the new branch, after all weights were initialized."""
        zero_last(self.query_position)

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        reference_points: Tensor,
        valid_ratios: Tensor,
        refiner: BoxRefiner,
        **kwargs: Any,
    ) -> tuple[Tensor, Refinement]:
        """Run all layers, as :meth:`FDRDinoDecoder.forward` does.

        ``query_pos`` is (N, Q, C); ``reference_points`` are points (N, Q, 2), or boxes in two-stage detectors.
        """
        states: list[Tensor] = []
        for layer in self.layers:
            position = query_pos + self.query_position(reference_points) if states else query_pos
            boxes = on_levels(reference_points, valid_ratios)
            query = layer(query, query_pos=position, valid_ratios=valid_ratios, reference_points=boxes, **kwargs)
            states.append(query)
            reference_points = refiner(query, reference_points)
        return torch.stack(states), refiner.result()


class FDRDABDecoder(DABDetrTransformerDecoder):
    """DAB-DETR's decoder with FDR; its anchors are the refined boxes."""

    def anchor_encoding(self, layer: int, query: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the query position and the positional query of the cross attention, (N, Q, C) each.

        Args:
            layer: Index of the layer.
            query: (N, Q, C).
            anchors: (N, Q, 4), or (N, Q, 2) for ``query_dim=2``.
        """
        encoded = coordinate_to_encoding(anchors, num_feats=self.embed_dims // 2)
        position = self.ref_point_head(encoded)
        sine = encoded[..., : self.embed_dims]
        if self.query_scale_type == 'fix_elewise':
            sine = sine * self.query_scale.weight[layer]
        elif layer:
            sine = sine * self.query_scale(query)
        if self.with_modulated_hw_attn:
            # The encoding holds y before x, and y is modulated by the height.
            ratio = self.ref_anchor_head(query).sigmoid() / anchors[..., 2:]
            sine = sine * ratio.flip(-1).repeat_interleave(self.embed_dims // 2, dim=-1)
        return position, sine

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
        refiner: BoxRefiner,
        key_padding_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Refinement]:
        """Run all layers; see :meth:`FDRDinoDecoder.forward`.

        Args:
            query: (N, Q, C).
            key: Encoder memory, (N, points, C).
            query_pos: Learned anchors before the sigmoid, (N, Q, ``query_dim``).
            key_pos: (N, points, C).
            refiner: A new refiner of the head.
            key_padding_mask: (N, points).
            kwargs: Arguments of every layer.
        """
        states: list[Tensor] = []
        reference = query_pos.sigmoid()
        for number, layer in enumerate(self.layers):
            position, sine = self.anchor_encoding(number, query, reference[..., : self.query_dim])
            query = layer(
                query,
                key,
                query_pos=position,
                key_pos=key_pos,
                ref_sine_embed=sine,
                key_padding_mask=key_padding_mask,
                is_first=not states,
                **kwargs,
            )
            states.append(self.post_norm(query))
            reference = refiner(states[-1], reference)
        return torch.stack(states), refiner.result()
