"""Fine-grained distribution refinement (FDR): every decoder layer shifts the edges of one initial box.

Source: D-FINE (arXiv 2410.13842, section 4.1) and the decoder of Peterande/D-FINE, ``src/zoo/dfine/dfine_decoder.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ...ops.edge_bins import expected_offsets, refine_boxes, weighting_function
from ...ops.reduction import to_float


class Refinement(NamedTuple):
    """What the layers of a decoder say of the boxes; L layers, N images, Q queries, ``bins = reg_max + 1``."""

    logits: Tensor
    """Edge distributions, accumulated over the layers, (L, N, Q, 4, bins); edges left, top, right, bottom."""
    boxes: Tensor
    """Normalised (cx, cy, w, h), (L, N, Q, 4); a width can be negative, as in the released code."""
    initial: Tensor
    """The box of the traditional branch after the first layer, (N, Q, 4)."""


def perceptron(channels: Sequence[int]) -> nn.Sequential:
    """Return linear layers with ReLU between them.

    Args:
        channels: Sizes of input, hidden layers and output.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(channels):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def zero_last(branch: nn.Module) -> None:
    """Let a branch of :func:`perceptron` start by saying nothing: its last layer gives 0."""
    last = list(branch.children())[-1]
    for parameter in last.parameters():
        nn.init.zeros_(parameter)


def as_reference(boxes: Tensor) -> Tensor:
    """Return boxes that a decoder layer can attend around: without gradient, inside the image, with an area.

    >>> as_reference(torch.tensor([1.5, 0.5, -0.1, 0.2]))
    tensor([1.0000, 0.5000, 0.0010, 0.2000])
    """
    boxes = boxes.detach()
    return torch.cat([boxes[..., :2].clamp(0, 1), boxes[..., 2:].clamp(1e-3, 1)], dim=-1)


def shift_in_logit_space(delta: Tensor, reference: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the box of a traditional DETR branch: ``sigmoid(delta + logit(reference))``.

    Args:
        delta: (..., 4).
        reference: Boxes (..., 4), or points (..., 2), which move the centre alone.
        eps: Keeps the logits finite.

    >>> shift_in_logit_space(torch.zeros(4), torch.tensor([0.25, 0.75]))
    tensor([0.2500, 0.7500, 0.5000, 0.5000])
    """
    known = to_float(reference).logit(eps)
    return (to_float(delta) + nn.functional.pad(known, (0, 4 - known.shape[-1]))).sigmoid()


class QualityEstimator(nn.Module):
    """Location quality estimator: a correction of the class logits from how peaked the edge distributions are.

    Source: GFLv2's idea (arXiv 2011.12885) as D-FINE uses it (``LQE`` in the released decoder): the highest ``topk``
    probabilities of each edge and their mean. Its last layer starts at 0. The distributions get its gradient.

    Args:
        topk: How many probabilities of each edge.
        hidden_dims: Width of the hidden layer.
    """

    def __init__(self, topk: int = 4, hidden_dims: int = 64) -> None:
        super().__init__()
        self.topk = topk
        self.branch = perceptron([4 * (topk + 1), hidden_dims, 1])

    def forward(self, logits: Tensor) -> Tensor:
        """Return a summand for all class logits, (..., 1), from edge logits (..., 4, bins)."""
        highest = to_float(logits).softmax(dim=-1).topk(self.topk, dim=-1).values
        statistics = torch.cat([highest, highest.mean(dim=-1, keepdim=True)], dim=-1)
        return self.branch(statistics.flatten(-2))


class FDRBranches(nn.Module):
    """The parameters that FDR adds to a head: for every decoder layer a distribution branch and a quality estimator.

    Args:
        num_layers: Decoder layers.
        embed_dims: Channels of a query.
        reg_max: Bins of a distribution, less one; even.
        reg_scale: Curvature of the weighting function; larger is finer around 0.
        up: Upper bound of the weighting function: the bins reach ``up`` of a box side, the two outermost ``2 * up``.
    """

    bins: Tensor

    def __init__(self, num_layers: int, embed_dims: int, reg_max: int, reg_scale: float, up: float) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.reg_scale = float(reg_scale)
        # The config says what the bins are, as it says the number of layers; they are no weights.
        self.register_buffer('bins', weighting_function(reg_max, up, reg_scale), persistent=False)
        channels = [embed_dims, embed_dims, embed_dims, 4 * (reg_max + 1)]
        self.distributions = nn.ModuleList(perceptron(channels) for _ in range(num_layers))
        self.qualities = nn.ModuleList(QualityEstimator() for _ in range(num_layers))

    def init_weights(self) -> None:
        """Start with uniform distributions, which leave the initial box where it is, and without quality."""
        for distribution, quality in zip(self.distributions, self.qualities):
            zero_last(distribution)
            zero_last(cast(QualityEstimator, quality).branch)


class BoxRefiner:
    """One pass through the decoder; a decoder calls it after each layer.

    Args:
        branches: The head's FDR branches.
        initial_branch: The traditional box branch of the first layer, (..., C) -> (..., 4).
    """

    def __init__(self, branches: FDRBranches, initial_branch: nn.Module) -> None:
        self.branches = branches
        self.initial_branch = initial_branch
        self.initial: Tensor | None = None
        self.previous: Tensor | None = None
        self.logits: list[Tensor] = []
        self.boxes: list[Tensor] = []

    def __call__(self, hidden: Tensor, reference: Tensor) -> Tensor:
        """Refine the boxes by one layer.

        Args:
            hidden: The layer's queries, (N, Q, C).
            reference: What the layer attended around: boxes (N, Q, 4) or points (N, Q, 2); only the first layer's
                counts, because all layers refine the same initial box.

        Returns:
            Boxes for the next layer to attend around, (N, Q, 4), without gradient.
        """
        if self.initial is None:
            self.initial = shift_in_logit_space(self.initial_branch(hidden), reference)
        mixed = hidden if self.previous is None else hidden + self.previous
        step = self.branches.distributions[len(self.logits)](mixed)
        # The sum over layers is kept in float32, also inside autocast.
        step = to_float(step).unflatten(-1, (4, self.branches.reg_max + 1))
        self.logits.append(step if not self.logits else self.logits[-1] + step)
        offsets = expected_offsets(self.logits[-1], self.branches.bins)
        self.boxes.append(refine_boxes(self.initial.detach(), offsets, self.branches.reg_scale))
        self.previous = hidden.detach()
        return as_reference(self.boxes[-1])

    def result(self) -> Refinement:
        """Return what all layers said."""
        assert self.initial is not None, 'no layer was refined'
        return Refinement(torch.stack(self.logits), torch.stack(self.boxes), self.initial)
