"""D-FINE's decoder: layers with a gate after the cross attention, and query positions from boxes without sines.

Source: Peterande/D-FINE, ``src/zoo/dfine/dfine_decoder.py``. Shapes: N images, Q queries, P positions, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks.transformer import FFN, MultiheadAttention
from mmdet.models.layers.transformer import DetrTransformerDecoder, DetrTransformerDecoderLayer
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from ....errors import ConfigError
from ....registry import MODELS
from ....utils.argument_types import check_types
from ....utils.build import build, check_arguments, check_settings, construct
from ....utils.checks import check_integer
from ..decoders import on_levels
from .deformable_attention import LevelValues, PointsDeformableAttention, Shapes, level_values

KEY = 'model.decoder'
HALF_LIMIT = 65504.0
"""The largest number of half precision."""
DEFAULT_WIDTH = 256
"""Channels of attentions and feed-forward networks without ``embed_dims``."""
POSITION_LIMIT = 10.0
"""Bound of the query positions."""
RELU: dict[str, Any] = dict(type='ReLU')


def reset_linears(module: nn.Module) -> None:
    """Initialize the weights of linear layers with Xavier's uniform distribution, their biases with PyTorch's."""
    for linear in module.modules():
        if isinstance(linear, nn.Linear):
            linear.reset_parameters()
            nn.init.xavier_uniform_(linear.weight)


class Gateway(BaseModule):
    """Gate between two streams in place of a residual connection: ``LN(g1 * x + g2 * y)``.

    ``g1`` and ``g2`` are the sigmoid of one linear layer on both streams, initialized to 0: each gate starts at 0.5.

    Args:
        embed_dims: Number of channels of each stream.
        norm_cfg: Normalisation of the sum.
    """

    def __init__(self, embed_dims: int, norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * embed_dims, 2 * embed_dims)
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1]
        self.init_weights()

    def init_weights(self) -> None:
        """Open both gates half."""
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the gated sum of two streams of shape (..., C)."""
        gates = self.gate(torch.cat([first, second], dim=-1)).sigmoid()
        first_gate, second_gate = gates.chunk(2, dim=-1)
        return self.norm(first_gate * first + second_gate * second)


class DFINEDecoderLayer(DetrTransformerDecoderLayer):
    """Self attention, deformable attention around the query's box, gate, and feed-forward network.

    Args as in MMDetection's layer; ``cross_attn_cfg`` holds those of :class:`PointsDeformableAttention`.

    Raises:
        ConfigError: If attentions and feed-forward network have different widths, or an argument is not valid.
    """

    attention: type[PointsDeformableAttention] = PointsDeformableAttention

    def _init_attentions(self) -> None:
        """Create both attentions."""
        key = f'{KEY}.layer_cfg'
        self.self_attn = construct(MultiheadAttention, self.self_attn_cfg, f'{key}.self_attn_cfg')
        self.embed_dims: int = self.self_attn.embed_dims
        for name, settings in (('cross_attn_cfg', self.cross_attn_cfg), ('ffn_cfg', self.ffn_cfg)):
            width = settings.get('embed_dims', DEFAULT_WIDTH)
            if width != self.embed_dims:
                raise ConfigError(
                    f'{key}.{name}.embed_dims is {width!r}, but {key}.self_attn_cfg has {self.embed_dims} channels; '
                    'make all three equal'
                )
        check_arguments(self.attention, self.cross_attn_cfg, f'{key}.cross_attn_cfg', inherited=True)
        check_types(self.attention, self.cross_attn_cfg, f'{key}.cross_attn_cfg')
        self.cross_attn = self.attention(**self.cross_attn_cfg)
        check_arguments(FFN, self.ffn_cfg, f'{key}.ffn_cfg', inherited=True)  # MMCV's FFN ignores unknown ones

    def _init_layers(self) -> None:
        """Create attentions, gate, feed-forward network and the norms before and after the cross attention."""
        self._init_attentions()
        self.gateway = Gateway(self.embed_dims, self.norm_cfg)
        self.ffn = FFN(**self.ffn_cfg)
        self.norms = ModuleList(build_norm_layer(self.norm_cfg, self.embed_dims)[1] for _ in range(2))

    def init_weights(self) -> None:
        """Initialize the layers as the release does."""
        super().init_weights()
        reset_linears(self.ffn)

    def attend(self, query: Tensor, positioned: Tensor, mask: Tensor | None) -> Tensor:
        """Return the self attention without the residual connection, (N, Q, C).

        MMCV's module computes the same, and the attention weights, which takes longer.

        Args:
            query: Values, (N, Q, C).
            positioned: Queries and keys, (N, Q, C).
            mask: See :meth:`forward`.
        """
        module = self.self_attn
        positioned, query = positioned.transpose(0, 1), query.transpose(0, 1)
        attended = module.attn(positioned, positioned, query, attn_mask=mask, need_weights=False)[0]
        return module.dropout_layer(module.proj_drop(attended.transpose(0, 1)))

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        boxes: Tensor,
        values: LevelValues,
        self_attn_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the queries after this layer, (N, Q, C).

        Args:
            query: (N, Q, C).
            query_pos: (N, Q, C).
            boxes: See :meth:`PointsDeformableAttention.forward`.
            values: Memory of the encoder.
            self_attn_mask: True where a query (row) does not see a query (column), (Q, Q).
        """
        query = self.norms[0](query + self.attend(query, query + query_pos, self_attn_mask))
        query = self.gateway(query, self.cross_attn(query + query_pos, boxes, values))
        # Half precision overflows in long trainings.
        return self.norms[1](self.ffn(query).clamp(min=-HALF_LIMIT, max=HALF_LIMIT))


class BoxPosition(BaseModule):
    """Query positions from boxes: two linear layers on (cx, cy, w, h).

    Args:
        embed_dims: C.
        act_cfg: Activation between the layers.
        limit: Largest absolute position; None for no limit, as in RT-DETR.
    """

    def __init__(self, embed_dims: int, act_cfg: dict[str, Any], limit: float | None = POSITION_LIMIT) -> None:
        super().__init__()
        self.limit = limit
        self.layers = nn.ModuleList([nn.Linear(4, 2 * embed_dims), nn.Linear(2 * embed_dims, embed_dims)])
        self.activation = build(MODELS, act_cfg, nn.Module, f'{KEY}.act_cfg')

    def init_weights(self) -> None:
        """Initialize both layers with Xavier's uniform distribution."""
        reset_linears(self)

    def forward(self, boxes: Tensor) -> Tensor:
        """Return positions (N, Q, C) for boxes (N, Q, 4)."""
        first: Any = self.layers[0]
        # Boxes stay in float32 in a network of half precision.
        hidden = self.activation(first(boxes.to(first.weight.dtype)))
        position: Tensor = self.layers[1](hidden)
        return position if self.limit is None else position.clamp(min=-self.limit, max=self.limit)


class DFINEDecoder(DetrTransformerDecoder):
    """Decoder layers that refine boxes with FDR.

    Args:
        num_layers: Number of layers.
        layer_cfg: Arguments of :class:`DFINEDecoderLayer`.
        eval_idx: Index of the layer that predicts in evaluation, negative from the end; later layers only train.
        act_cfg: Activation of the branch from a box to a query position.
        init_cfg: See MMEngine.

    Raises:
        ConfigError: If ``eval_idx`` names no layer, or an argument is not valid.
    """

    layer_class: type[nn.Module] = DFINEDecoderLayer
    position_limit: float | None = POSITION_LIMIT

    def __init__(
        self,
        num_layers: int,
        layer_cfg: dict[str, Any],
        eval_idx: int = -1,
        act_cfg: dict[str, Any] = RELU,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        check_integer(f'{KEY}.num_layers', num_layers, 1, 'valid: a positive integer, such as 3')
        check_settings(self.layer_class, layer_cfg, f'{KEY}.layer_cfg', 'dict(self_attn_cfg=..., cross_attn_cfg=...)')
        if not -num_layers <= eval_idx < num_layers:
            last = num_layers - 1
            raise ConfigError(f'{KEY}.eval_idx is {eval_idx!r} with num_layers={num_layers}; nearest: {last}')
        self.act_cfg = act_cfg
        super().__init__(num_layers, layer_cfg, init_cfg=init_cfg)
        self.eval_idx = eval_idx % num_layers

    def _init_layers(self) -> None:
        """Create the layers and the branch from a box to a query position."""
        self.layers = ModuleList(self.layer_class(**self.layer_cfg) for _ in range(self.num_layers))
        self.embed_dims: int = self.layers[0].embed_dims
        self.ref_point_head = BoxPosition(self.embed_dims, self.act_cfg, self.position_limit)

    def values(self, memory: Tensor, shapes: Shapes, mask: Tensor | None) -> Any:
        """Return what all layers read of the encoder's memory.

        Args:
            memory: (N, P, C).
            shapes: Height and width of each level.
            mask: Padded positions, (N, P).
        """
        return level_values(memory, shapes, self.layers[0].cross_attn.num_heads, mask)

    def drop_later_layers(self) -> None:
        """Drop the layers after ``eval_idx``, which only train; the others keep their names in checkpoints."""
        self.layers = self.layers[: self.eval_idx + 1]

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        reference_points: Tensor,
        shapes: Shapes,
        refiner: Any,
        self_attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        valid_ratios: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Run all layers in training, and those up to ``eval_idx`` in evaluation.

        Args:
            query: (N, Q, C).
            value: Memory of the encoder, (N, P, C).
            reference_points: Boxes that the queries start from, (N, Q, 4).
            shapes: Height and width of each level.
            refiner: A new refiner of the head, a :class:`~kd_plugins.models.dfine.refinement.BoxRefiner` for D-FINE.
            self_attn_mask: See :class:`DFINEDecoderLayer`.
            key_padding_mask: Padded positions, (N, P); None if no image is padded.
            valid_ratios: Width and height of each image relative to the padded map, (N, levels, 2); None if no image
                is padded.

        Returns:
            Hidden states (L, N, Q, C) and the result of the refiner.
        """
        layers = self.layers if self.training else self.layers[: self.eval_idx + 1]
        values = self.values(value, shapes, key_padding_mask)
        states = []
        for layer in layers:
            boxes = reference_points[:, :, None]
            if valid_ratios is not None:
                boxes = on_levels(reference_points, valid_ratios)
            query = layer(query, self.ref_point_head(reference_points), boxes, values, self_attn_mask)
            states.append(query)
            reference_points = refiner(query, reference_points)
        return torch.stack(states), refiner.result()
