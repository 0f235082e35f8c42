"""RT-DETR's head: MMDetection's ``DINOHead`` with the losses of all layers computed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import DINOHead
from mmdet.structures import SampleList
from torch import Tensor, nn

from ...ops.reduction import to_float
from ...registry import MODELS
from ...utils.argument_types import check_types
from ...utils.build import build, check_arguments
from ...utils.checks import check_choice
from ..dfine.criterion import Criterion, Predictions, Proposals
from ..dfine.deployable_head import DeployableHead
from ..dfine.head_losses import losses_of_queries
from ..dfine.heads import KEY, MATCHING, RELU, build_class_loss, check_sizes, match_costs, set_activation
from .refinement import LookForwardTwice


@MODELS.register_module()
class RTDETRHead(DeployableHead, DINOHead):
    """MMDetection's ``DINOHead`` for :class:`RTDETR`, whose decoder computes the boxes.

    The losses are those of the release: each layer, and the proposals that become the queries, are matched for
    themselves; the class loss, such as ``VFLLoss``, may score a query by the IoU of its box.

    Args:
        loss_proposal_cls: Class loss of the proposals; None takes ``loss_cls``.
        matching: ``'own'`` as in the release, or ``'union'`` for D-FINE's union of the matches of all sets, with which
            the boxes of every layer learn from the same pairs.
        keep_every_object: See :func:`kd_plugins.models.dfine.matching.union`.
        act_cfg: Activation of the box branches.
        kwargs: As in MMDetection's ``DINOHead``.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_cls: nn.Module

    def __init__(
        self,
        *args: Any,
        loss_proposal_cls: dict[str, Any] | None = None,
        matching: str = 'own',
        keep_every_object: bool = True,
        act_cfg: dict[str, Any] = RELU,
        **kwargs: Any,
    ) -> None:
        settings = dict(loss_proposal_cls=loss_proposal_cls, matching=matching, act_cfg=act_cfg)
        check_types(RTDETRHead, dict(settings, keep_every_object=keep_every_object), KEY)
        check_arguments(type(self), kwargs, KEY, inherited=True)
        check_sizes(kwargs)
        build_class_loss('loss_cls', kwargs.get('loss_cls'))  # a check: MMDetection's head builds it again
        self.matching = check_choice(f'{KEY}.matching', matching, MATCHING)
        self.keep_every_object = keep_every_object
        self.act_cfg = act_cfg
        super().__init__(*args, **kwargs)
        self.loss_proposal_cls = build_class_loss('loss_proposal_cls', loss_proposal_cls)

    def _init_layers(self) -> None:
        """Create class and box branches of the layers and, as the last ones, those of the proposals."""
        super()._init_layers()
        set_activation(self.reg_branches, lambda: build(MODELS, self.act_cfg, nn.Module, f'{KEY}.act_cfg'))

    def refiner(self) -> LookForwardTwice:
        """Return what the decoder calls after each layer of one pass."""
        return LookForwardTwice(self.reg_branches)

    def forward(self, hidden_states: Tensor, boxes: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        """Return class logits (L, N, Q, C) and boxes (L, N, Q, 4) of all decoder layers that have scores."""
        layers = self.scored_layers(len(hidden_states))
        scores = [to_float(self.cls_branches[layer](hidden_states[layer])) for layer in layers]
        return torch.stack(scores), boxes[-len(scores) :]

    def last_layer(self, hidden_states: Tensor, boxes: Tensor, **_: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return class logits (N, Q, C) and boxes (N, Q, 4) of the last layer that ran, which predicts."""
        last = len(hidden_states) - 1
        return to_float(self.cls_branches[last](hidden_states[last])), boxes[last]

    def layer_parts(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the class branches and the box branches."""
        return [self.cls_branches], [self.reg_branches]

    def loss(
        self,
        hidden_states: Tensor,
        boxes: Tensor,
        batch_data_samples: SampleList,
        enc_outputs_class: Tensor,
        enc_outputs_coord: Tensor,
        dn_meta: dict[str, int] | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of the decoder layers, the proposals and the denoising queries."""
        predictions = Predictions(*self(hidden_states, boxes))
        proposals = Proposals(enc_outputs_class, enc_outputs_coord, selected=True)
        return losses_of_queries(self.criterion(), predictions, batch_data_samples, proposals, dn_meta)

    def criterion(self) -> Criterion:
        """Return the losses of this head as one callable."""
        return Criterion(
            num_classes=self.num_classes,
            match_costs=match_costs(self),
            loss_cls=self.loss_cls,
            loss_bbox=self.loss_bbox,
            loss_iou=self.loss_iou,
            matching=self.matching,
            keep_every_object=self.keep_every_object,
            loss_proposal_cls=self.loss_proposal_cls,
        )


__all__ = ['RTDETRHead']
