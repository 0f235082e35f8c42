"""Weight of the labels in the next generation of self-distillation, from validation outputs of two runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from ..checkpoints import load_checkpoint, load_weights
from ..errors import ConfigError
from ..evaluation.pixel_calibration import pixel_probabilities


class MixingWeight:
    r"""Weight of the labels that would have fitted validation data best, in closed form.

    A generation of self-distillation (arXiv 2102.13088) fits :math:`\alpha y + (1 - \alpha) f` with labels y and the
    outputs f of the run before. Where the outputs of a learner are linear in its targets, as those of kernel ridge
    regression are, they are :math:`\alpha A + (1 - \alpha) B` with the outputs A of a run on the labels alone and B of
    a run on f alone, and the squared error on validation labels is least at

    .. math:: \alpha^* = \frac{\langle y - B, A - B \rangle}{\lVert A - B \rVert^2}

    A deep network is not linear in its targets, so the value is an estimate.

    >>> weight = MixingWeight()
    >>> weight.add(torch.tensor([1.0, 0.0]), torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5]))
    >>> weight.value
    1.25
    """

    def __init__(self) -> None:
        self.product = 0.0
        self.square = 0.0

    def add(self, labels: Tensor, plain: Tensor, distilled: Tensor) -> None:
        """Add validation outputs.

        Args:
            labels: y, probabilities of the labels, any shape.
            plain: A, the outputs of the run on labels alone, in the same shape.
            distilled: B, the outputs of the run on outputs alone, in the same shape.
        """
        difference = plain.double() - distilled.double()
        self.product += float(((labels.double() - distilled.double()) * difference).sum())
        self.square += float(difference.square().sum())

    @property
    def value(self) -> float:
        """The weight, not limited to [0, 1]; NaN where both outputs are equal."""
        return round(self.product / self.square, 6) if self.square else math.nan


def outputs(model: Any, batch: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield class probabilities, shape (C, H, W), and labels, shape (H, W), of each image of a batch.

    Args:
        model: A segmentor of MMSegmentation in eval mode.
        batch: A batch of a loader.

    Raises:
        ConfigError: If it predicts something else.
    """
    for sample in model.test_step(batch):
        if 'seg_logits' not in sample or 'gt_sem_seg' not in sample:
            raise ConfigError(
                f'{type(model).__name__} gives no class probabilities of labelled pixels, so its outputs cannot be '
                'mixed with labels; valid: a segmentor of MMSegmentation, with LoadAnnotations in the test pipeline'
            )
        yield pixel_probabilities(sample.seg_logits.data), sample.gt_sem_seg.data.squeeze(0)


def measure_mixing(runner: Runner, distilled: str, ignore_index: int = 255) -> MixingWeight:
    """Run two checkpoints of one network over the test data of a runner.

    Args:
        runner: A runner that can test, with the checkpoint of the plain run as ``load_from``.
        distilled: Checkpoint of the distilled run.
        ignore_index: Label of pixels that do not count.

    Raises:
        CheckpointError: If the checkpoint does not fit the network.
        ConfigError: If the model is no segmentor.
    """
    weight, networks = MixingWeight(), []
    runner.load_or_resume()
    model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
    for number in range(2):
        if number:
            load_weights(model, load_checkpoint(distilled), distilled, True, key='the distilled checkpoint')
        networks.append(copy.deepcopy(model.state_dict()))
    model.eval()
    with torch.no_grad():
        for batch in runner.test_dataloader:
            shown = []
            for weights in networks:
                model.load_state_dict(weights)
                shown.append(list(outputs(model, batch)))
            for (plain, labels), (other, _) in zip(*shown):
                counts = labels != ignore_index
                truth = torch.nn.functional.one_hot(labels[counts].long(), len(plain)).T
                weight.add(truth, plain[:, counts], other[:, counts])
    return weight
