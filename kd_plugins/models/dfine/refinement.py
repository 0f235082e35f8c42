"""Fine-grained distribution refinement (FDR): every decoder layer shifts the edges of the same initial box.

Source: D-FINE (arXiv 2410.13842, section 4.1) and the decoder of Peterande/D-FINE, ``src/zoo/dfine/dfine_decoder.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ...ops.edge_bins import expected_offsets, refine_boxes, weighting_function
from ...ops.reduction import to_float


class Refinement(NamedTuple):
    """Boxes and edge distributions of all decoder layers; L layers, N images, Q queries, ``bins = reg_max + 1``."""

    logits: Tensor
    """Edge distributions, accumulated over the layers, (L, N, Q, 4, bins); edges left, top, right, bottom."""
    boxes: Tensor
    """Normalised (cx, cy, w, h), (L, N, Q, 4); a width can be negative, as in the released code."""
    initial: Tensor
    """Box of the traditional branch after the first layer, (N, Q, 4)."""


def perceptron(channels: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return linear layers with an activation between them.

    Args:
        channels: Widths of input, hidden layers and output.
        activation: Makes one activation.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(channels):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1])


def zero_last(branch: nn.Module) -> None:
    """Zero-initialize the last layer of a branch of :func:`perceptron`."""
    last = list(branch.children())[-1]
    for parameter in last.parameters():
        nn.init.zeros_(parameter)


def as_reference(boxes: Tensor) -> Tensor:
    """Return boxes as reference of a decoder layer: without gradient, inside the image, with a positive area.

    >>> as_reference(torch.tensor([1.5, 0.5, -0.1, 0.2]))
    tensor([1.0000, 0.5000, 0.0010, 0.2000])
    """
    boxes = boxes.detach()
    return torch.cat([boxes[..., :2].clamp(0, 1), boxes[..., 2:].clamp(1e-3, 1)], dim=-1)


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the logit of ``x`` with a finite result at 0 and 1, as the DETR family computes it.

    Numerator and denominator are raised to ``eps`` apart, other than in :func:`torch.logit`.

    >>> inverse_sigmoid(torch.tensor([0.0, 0.5, 1.0]), eps=0.5).exp()
    tensor([0.5000, 1.0000, 2.0000])
    """
    x = x.clamp(0, 1)
    return (x.clamp(min=eps) / (1 - x).clamp(min=eps)).log()


def shift_in_logit_space(delta: Tensor, reference: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the box of a traditional DETR branch: ``sigmoid(delta + logit(reference))``.

    Args:
        delta: (..., 4).
        reference: Boxes (..., 4), or points (..., 2), which shift the centre only.
        eps: Distance of the reference to 0 and 1 that keeps its logits finite.

    >>> shift_in_logit_space(torch.zeros(4), torch.tensor([0.25, 0.75]))
    tensor([0.2500, 0.7500, 0.5000, 0.5000])
    """
    logits = inverse_sigmoid(to_float(reference), eps)
    return (to_float(delta) + nn.functional.pad(logits, (0, 4 - logits.shape[-1]))).sigmoid()


class QualityEstimator(nn.Module):
    """Location quality estimator: a correction of the class logits by the sharpness of the edge distributions.

    Source: GFLv2 (arXiv 2011.12885) in the form of D-FINE (``LQE`` in the released decoder). The input is the highest
    ``topk`` probabilities of each edge and their mean. The last layer is initialized to 0. The gradient also reaches
    the distributions.

    Args:
        topk: Number of probabilities of each edge.
        hidden_dims: Width of the hidden layer.
        activation: Makes the activation of the hidden layer.
    """

    def __init__(self, topk: int = 4, hidden_dims: int = 64, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.topk = topk
        self.branch = perceptron([4 * (topk + 1), hidden_dims, 1], activation)

    def forward(self, logits: Tensor) -> Tensor:
        """Return a summand for all class logits, (..., 1), from edge logits (..., 4, bins)."""
        highest = to_float(logits).softmax(dim=-1).topk(self.topk, dim=-1).values
        statistics = torch.cat([highest, highest.mean(dim=-1, keepdim=True)], dim=-1)
        return self.branch(statistics.flatten(-2).to(next(self.branch.parameters()).dtype))


class FDRBranches(nn.Module):
    """Parameters that FDR adds to a head: a distribution branch and a quality estimator for every decoder layer.

    Args:
        num_layers: Number of decoder layers.
        embed_dims: Number of channels of a query.
        reg_max: Number of bins of a distribution, less one; even.
        reg_scale: Curvature of the weighting function; with larger values it is finer around 0.
        up: Upper bound of the weighting function: the bins reach ``up`` times a box side, the two outermost twice that.
        activation: Makes the activations of the branches.
    """

    bins: Tensor

    def __init__(
        self,
        num_layers: int,
        embed_dims: int,
        reg_max: int,
        reg_scale: float,
        up: float,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.reg_scale = float(reg_scale)
        self.up = float(up)
        # The bins follow from the config and are not part of a checkpoint.
        self.register_buffer('bins', weighting_function(reg_max, up, reg_scale), persistent=False)
        channels = [embed_dims, embed_dims, embed_dims, 4 * (reg_max + 1)]
        self.distributions = nn.ModuleList(perceptron(channels, activation) for _ in range(num_layers))
        self.qualities = nn.ModuleList(QualityEstimator(activation=activation) for _ in range(num_layers))

    def offsets_of_bins(self, like: Tensor) -> Tensor:
        """Return the offset of each bin in the dtype of ``like``, (bins,).

        A network in float64 gets offsets that were not rounded to float32, and one in half precision those of float32.
        """
        if like.dtype != torch.float64 and self.bins.dtype == torch.float32:
            return self.bins
        return weighting_function(self.reg_max, self.up, self.reg_scale, dtype=like.dtype).to(like.device)

    def init_weights(self) -> None:
        """Initialize uniform distributions, which do not move the initial box, and a quality of 0."""
        for distribution, quality in zip(self.distributions, self.qualities):
            zero_last(distribution)
            zero_last(cast(QualityEstimator, quality).branch)


class BoxRefiner:
    """Refinement of the boxes in one pass through the decoder, which calls it after each layer.

    Args:
        branches: FDR branches of the head.
        initial_branch: The traditional box branch of the first layer, (..., C) -> (..., 4).
        clamp: Whether the next layer's references are moved into the image, see :func:`as_reference`. The released
            D-FINE does not move them.
    """

    def __init__(self, branches: FDRBranches, initial_branch: nn.Module, clamp: bool = True) -> None:
        self.branches = branches
        self.initial_branch = initial_branch
        self.clamp = clamp
        self.initial: Tensor | None = None
        self.previous: Tensor | None = None
        self.logits: list[Tensor] = []
        self.boxes: list[Tensor] = []

    def __call__(self, hidden: Tensor, reference: Tensor) -> Tensor:
        """Refine the boxes by one layer.

        Args:
            hidden: Queries after the layer, (N, Q, C).
            reference: Reference of the layer: boxes (N, Q, 4) or points (N, Q, 2). Only that of the first layer is
                used, because all layers refine the same initial box.

        Returns:
            Reference boxes of the next layer, (N, Q, 4), without gradient.
        """
        if self.initial is None:
            self.initial = shift_in_logit_space(self.initial_branch(hidden), reference)
        mixed = hidden if self.previous is None else hidden + self.previous
        step = self.branches.distributions[len(self.logits)](mixed)
        # The sum over layers stays in float32, also inside autocast.
        step = to_float(step).unflatten(-1, (4, self.branches.reg_max + 1))
        self.logits.append(step if not self.logits else self.logits[-1] + step)
        offsets = expected_offsets(self.logits[-1], self.branches.offsets_of_bins(step))
        self.boxes.append(refine_boxes(self.initial.detach(), offsets, self.branches.reg_scale))
        self.previous = hidden.detach()
        return as_reference(self.boxes[-1]) if self.clamp else self.boxes[-1].detach()

    def result(self) -> Refinement:
        """Return boxes and edge distributions of all layers."""
        assert self.initial is not None, 'no layer was refined'
        return Refinement(torch.stack(self.logits), torch.stack(self.boxes), self.initial)
