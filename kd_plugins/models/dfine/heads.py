"""MMDetection's DETR heads with FDR branches and the D-FINE criterion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import DABDETRHead, DeformableDETRHead, DINOHead
from mmdet.structures import SampleList
from mmengine.model import bias_init_with_prob, constant_init
from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import DDFLoss, FGLLoss
from ...ops.reduction import to_float
from ...registry import MODELS
from ...utils.argument_types import check_types
from ...utils.build import build, check_arguments
from ...utils.checks import check_choice, check_integer, check_number
from .criterion import Criterion, Predictions, Proposals
from .deployable_head import DeployableHead
from .head_losses import losses_of_queries
from .refinement import BoxRefiner, FDRBranches, Refinement

KEY = 'model.bbox_head'
MATCHING = ('union', 'own')
FGL: dict[str, Any] = dict(type='kd_plugins.FGLLoss')
DDF: dict[str, Any] = dict(type='kd_plugins.DDFLoss')
RELU: dict[str, Any] = dict(type='ReLU')


def build_loss(name: str, config: dict[str, Any] | None) -> Any:
    """Return the loss of a head's argument, None for None."""
    return None if config is None else build(MODELS, config, nn.Module, f'{KEY}.{name}')


def set_activation(branches: Any, activation: Callable[[], nn.Module]) -> None:
    """Replace the ReLUs of MMDetection's box branches.

    Args:
        branches: The branches.
        activation: Makes one activation.
    """
    for branch in branches:
        for index, part in enumerate(branch.children()):
            if isinstance(part, nn.ReLU):
                branch[index] = activation()


def build_class_loss(name: str, config: dict[str, Any] | None) -> Any:
    """Return the class loss of a head's argument, None for None.

    Raises:
        ConfigError: If it does not take logits of sigmoids.
    """
    loss = build_loss(name, config)
    if loss is not None and not getattr(loss, 'use_sigmoid', False):
        raise ConfigError(
            f'{KEY}.{name}: {type(loss).__name__} uses no sigmoid, and the head scores boxes with sigmoid; '
            "set use_sigmoid=True or use type='kd_plugins.VFLLoss'"
        )
    return loss


def check_sizes(settings: Mapping[str, Any]) -> None:
    """Refuse numbers of classes and channels that are no positive integers.

    Args:
        settings: Arguments of MMDetection's head.
    """
    for name in ('num_classes', 'embed_dims'):
        if name in settings:
            check_integer(f'{KEY}.{name}', settings[name], 1, 'valid: a positive integer, such as 80')


def match_costs(head: Any) -> Any:
    """Return the cost functions of a head's assigner.

    Raises:
        ConfigError: If it has none.
    """
    if not hasattr(getattr(head, 'assigner', None), 'match_costs'):
        raise ConfigError(
            'model.train_cfg.assigner: training needs an assigner with match_costs, '
            "as MMDetection's DETR configs have; valid: 'HungarianAssigner'"
        )
    return head.assigner.match_costs


class FDRHead(DeployableHead):
    """Mixin for a DETR head that adds the FDR branches and replaces the losses.

    Args:
        num_decoder_layers: Number of decoder layers; the detector sets it.
        reg_max: See :class:`FDRBranches`.
        reg_scale: See :class:`FDRBranches`.
        up: See :class:`FDRBranches`.
        loss_fgl: Loss of the distributions.
        loss_proposal_cls: Classification loss of the proposals in two-stage detectors; None takes ``loss_cls``.
            VFL scores a proposal by its IoU, so that rare and small objects can be left without a query early in
            training. MMDetection's ``FocalLoss`` scores every proposal of an object alike.
        loss_ddf: Distillation of the last layer into the other layers; None switches it off.
        matching: With ``'union'``, boxes and distributions of all layers learn from the union of their matches (GO);
            with ``'own'``, each layer learns from its own matches.
        keep_every_object: See :func:`kd_plugins.models.dfine.matching.union`.
        clamp_references: See :class:`BoxRefiner`.
        act_cfg: Activation of the distribution branches, the quality estimators and, except in DAB-DETR, the box
            branches.

    Raises:
        ConfigError: If an argument does not fit.
    """

    # Attributes of MMDetection's head.
    loss_cls: nn.Module
    loss_bbox: nn.Module
    loss_iou: nn.Module
    embed_dims: int
    num_classes: int
    assigner: Any
    test_cfg: Any

    def __init__(
        self,
        *args: Any,
        num_decoder_layers: int = 6,
        reg_max: int = 32,
        reg_scale: float = 4.0,
        up: float = 0.5,
        loss_proposal_cls: dict[str, Any] | None = None,
        loss_fgl: dict[str, Any] = FGL,
        loss_ddf: dict[str, Any] | None = DDF,
        matching: str = 'union',
        keep_every_object: bool = True,
        clamp_references: bool = True,
        act_cfg: dict[str, Any] = RELU,
        **kwargs: Any,
    ) -> None:
        settings: dict[str, Any] = dict(num_decoder_layers=num_decoder_layers, reg_max=reg_max, reg_scale=reg_scale)
        settings |= dict(loss_proposal_cls=loss_proposal_cls, loss_fgl=loss_fgl, loss_ddf=loss_ddf, matching=matching)
        settings |= dict(up=up, keep_every_object=keep_every_object, clamp_references=clamp_references, act_cfg=act_cfg)
        check_types(FDRHead, settings, KEY)
        check_arguments(type(self), kwargs, KEY, inherited=True)
        check_sizes(kwargs)
        if kwargs.get('loss_cls') is None:
            raise ConfigError(f"{KEY}.loss_cls is not given; nearest: loss_cls=dict(type='kd_plugins.VFLLoss')")
        build_class_loss('loss_cls', kwargs['loss_cls'])  # a check: MMDetection's head builds it again
        self.matching = check_choice(f'{KEY}.matching', matching, MATCHING)
        check_integer(f'{KEY}.reg_max', reg_max, 2, 'valid: an even integer of at least 2, such as 32', 1024)
        check_number(f'{KEY}.reg_scale', reg_scale, positive=True, example=4.0)
        check_number(f'{KEY}.up', up, positive=True, example=0.5)
        # MMDetection's heads build their layers inside their __init__, so these must exist before.
        self.num_decoder_layers = num_decoder_layers
        self.act_cfg = act_cfg
        self.fdr_cfg: dict[str, Any] = dict(reg_max=reg_max, reg_scale=reg_scale, up=up)
        super().__init__(*args, **kwargs)
        self.loss_proposal_cls = build_class_loss('loss_proposal_cls', loss_proposal_cls)
        self.loss_fgl = build_loss('loss_fgl', loss_fgl)
        self.loss_ddf = build_loss('loss_ddf', loss_ddf)
        for name, loss, cls in (('loss_fgl', self.loss_fgl, FGLLoss), ('loss_ddf', self.loss_ddf, DDFLoss)):
            if loss is not None and not isinstance(loss, cls):
                raise ConfigError(
                    f"{KEY}.{name}.type is '{type(loss).__name__}', whose arguments are not those of a loss on edge "
                    f"distributions; nearest: 'kd_plugins.{cls.__name__}'"
                )
        self.keep_every_object = keep_every_object
        self.clamp_references = clamp_references

    def activation(self) -> nn.Module:
        """Return one activation of ``act_cfg``."""
        return build(MODELS, self.act_cfg, nn.Module, f'{KEY}.act_cfg')

    def _init_layers(self) -> None:
        """Create the layers of the plain head and the FDR branches."""
        super()._init_layers()  # type: ignore[misc]
        self.fdr = FDRBranches(self.num_decoder_layers, self.embed_dims, **self.fdr_cfg, activation=self.activation)

    def initial_branch(self) -> nn.Module:
        """Return the traditional box branch of the first decoder layer."""
        raise NotImplementedError

    def class_branch(self, layer: int) -> nn.Module:
        """Return the class branch of a decoder layer."""
        raise NotImplementedError

    def refiner(self) -> BoxRefiner:
        """Return a new refiner, which the decoder calls after each layer of one pass."""
        return BoxRefiner(self.fdr, self.initial_branch(), self.clamp_references)

    def layer_scores(self, layer: int, hidden: Tensor, logits: Tensor) -> Tensor:
        """Return the class logits of a layer, corrected by location quality, (N, Q, C)."""
        return to_float(self.class_branch(layer)(hidden)) + self.fdr.qualities[layer](logits)

    def forward(self, hidden_states: Tensor, refinement: Refinement, **_: Any) -> tuple[Tensor, Tensor]:
        """Return class logits (L, N, Q, C) and boxes (L, N, Q, 4) of all decoder layers that have scores."""
        layers = self.scored_layers(len(hidden_states))
        scores = [self.layer_scores(i, hidden_states[i], refinement.logits[i]) for i in layers]
        return torch.stack(scores), refinement.boxes[-len(scores) :]

    def last_layer(  # type: ignore[override]
        self, hidden_states: Tensor, refinement: Refinement, **_: Any
    ) -> tuple[Tensor, Tensor]:
        """Return class logits (N, Q, C) and boxes (N, Q, 4) of the last layer that ran, which predicts."""
        last = len(hidden_states) - 1
        return self.layer_scores(last, hidden_states[last], refinement.logits[last]), refinement.boxes[last]

    def loss(
        self,
        hidden_states: Tensor,
        refinement: Refinement,
        batch_data_samples: SampleList,
        enc_outputs_class: Tensor | None = None,
        enc_outputs_coord: Tensor | None = None,
        dn_meta: dict[str, int] | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of the decoder layers, the initial boxes, the proposals and the denoising queries."""
        scores, boxes = self(hidden_states, refinement)  # type: ignore[operator]
        initial = self.class_branch(0)(hidden_states[0])
        predictions = Predictions(scores, boxes, refinement.logits, initial, refinement.initial)
        proposals = None
        if enc_outputs_class is not None and enc_outputs_coord is not None:
            proposals = self.proposals(enc_outputs_class, enc_outputs_coord)
        return losses_of_queries(self.criterion(), predictions, batch_data_samples, proposals, dn_meta)

    def proposals(self, scores: Tensor, boxes: Tensor) -> Proposals:
        """Return the encoder's outputs as proposals."""
        raise NotImplementedError

    def criterion(self) -> Criterion:
        """Return the losses of this head as one callable."""
        return Criterion(
            num_classes=self.num_classes,
            bins=self.fdr.bins,
            reg_scale=self.fdr.reg_scale,
            match_costs=match_costs(self),
            loss_cls=self.loss_cls,
            loss_bbox=self.loss_bbox,
            loss_iou=self.loss_iou,
            loss_fgl=self.loss_fgl,
            loss_ddf=self.loss_ddf,
            matching=self.matching,
            keep_every_object=self.keep_every_object,
            loss_proposal_cls=self.loss_proposal_cls,
        )


@MODELS.register_module()
class FDRDeformableDETRHead(FDRHead, DeformableDETRHead):
    """MMDetection's ``DeformableDETRHead`` with FDR; see :class:`FDRHead` for the new arguments.

    The first box branch of the plain head predicts the initial boxes, and in two-stage detectors the last one predicts
    the proposals. The branches between them are removed.
    """

    def _init_layers(self) -> None:
        """Create all layers except unused box branches."""
        super()._init_layers()
        for layer in range(1, self.num_decoder_layers):
            # A placeholder, so that the other branches keep their names in checkpoints.
            self.reg_branches[layer] = nn.Identity()
        set_activation(self.reg_branches, self.activation)

    def layer_parts(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return class branches and quality estimators, and the distribution branches."""
        return [self.cls_branches, self.fdr.qualities], [self.fdr.distributions]

    def init_weights(self) -> None:
        """Initialize the weights like the plain head, with FDR branches that change nothing."""
        for branch in self.cls_branches:
            nn.init.constant_(branch.bias, bias_init_with_prob(0.01))
        for branch in self.reg_branches:
            if not isinstance(branch, nn.Identity):
                constant_init(branch[-1], 0, bias=0)
        if not self.as_two_stage:
            # A single-stage query starts from a point; with a bias of -2 its first box is 12 % of the image wide.
            nn.init.constant_(self.reg_branches[0][-1].bias.data[2:], -2.0)
        self.fdr.init_weights()

    def initial_branch(self) -> nn.Module:
        """Return the first box branch."""
        return self.reg_branches[0]

    def class_branch(self, layer: int) -> nn.Module:
        """Return the layer's class branch."""
        return self.cls_branches[layer]

    def proposals(self, scores: Tensor, boxes: Tensor) -> Proposals:
        """Return the proposals of all points, which all learn as in the plain head."""
        return Proposals(scores, boxes, selected=False)


@MODELS.register_module()
class FDRDINOHead(FDRDeformableDETRHead, DINOHead):
    """MMDetection's ``DINOHead`` with FDR; see :class:`FDRHead` for the new arguments."""

    def proposals(self, scores: Tensor, boxes: Tensor) -> Proposals:
        """Return the proposals that became the queries, which DINO has selected already."""
        return Proposals(scores, boxes, selected=True)


@MODELS.register_module()
class FDRDABDETRHead(FDRHead, DABDETRHead):
    """MMDetection's ``DABDETRHead`` with FDR; see :class:`FDRHead` for the new arguments.

    Its single box branch predicts the initial boxes. Its single class branch serves all layers, as in the plain head.
    """

    def init_weights(self) -> None:
        """Initialize the weights like the plain head, with FDR branches that change nothing."""
        super().init_weights()
        self.fdr.init_weights()

    def initial_branch(self) -> nn.Module:
        """Return the box branch."""
        return self.fc_reg

    def class_branch(self, layer: int) -> nn.Module:
        """Return the class branch, the same for every layer."""
        return self.fc_cls
