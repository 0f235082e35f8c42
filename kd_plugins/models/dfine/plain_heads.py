"""DINO's plain head with a class loss of its own for the proposals: the control for the class losses of FDR."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import DINOHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...registry import MODELS
from ...utils.argument_types import check_types
from ...utils.build import check_arguments
from .heads import KEY, build_class_loss


@MODELS.register_module()
class ProposalLossDINOHead(DINOHead):
    """MMDetection's ``DINOHead`` with two class losses, as ``FDRDINOHead`` has; its parameters are the same.

    Args:
        loss_proposal_cls: Classification loss of the proposals; None takes ``loss_cls``.
        kwargs: Arguments of ``DINOHead``.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_cls: nn.Module

    def __init__(self, *args: Any, loss_proposal_cls: dict[str, Any] | None = None, **kwargs: Any) -> None:
        check_types(ProposalLossDINOHead, dict(loss_proposal_cls=loss_proposal_cls), KEY)
        check_arguments(type(self), kwargs, KEY, inherited=True)
        super().__init__(*args, **kwargs)
        self.loss_proposal_cls = build_class_loss('loss_proposal_cls', loss_proposal_cls)

    def loss_by_feat(
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        enc_cls_scores: Tensor | None,
        enc_bbox_preds: Tensor | None,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        dn_meta: dict[str, int],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of the plain head, those of the proposals with ``loss_proposal_cls``."""
        objects = batch_gt_instances, batch_img_metas
        own = self.loss_proposal_cls is not None and enc_cls_scores is not None
        proposals = (None, None) if own else (enc_cls_scores, enc_bbox_preds)
        losses: dict[str, Tensor] = super().loss_by_feat(
            all_layers_cls_scores, all_layers_bbox_preds, *proposals, *objects, dn_meta, batch_gt_instances_ignore
        )
        if own:
            of_queries = self.loss_cls
            self.loss_cls = self.loss_proposal_cls
            try:
                values = self.loss_by_feat_single(enc_cls_scores, enc_bbox_preds, *objects)
            finally:
                self.loss_cls = of_queries
            losses.update(zip(('enc_loss_cls', 'enc_loss_bbox', 'enc_loss_iou'), values))
        return losses
