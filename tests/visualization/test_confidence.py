"""A teacher's confidence at each pixel: values by hand on a head of two levels, and heads without maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import LogitDistiller
from kd_plugins.errors import ConfigError
from kd_plugins.visualization.confidence import highest, teacher_confidence


class Head(nn.Module):
    """A network whose class logits are its input at half the size, and the mean of its input."""

    def __init__(self, flat: bool = False) -> None:
        super().__init__()
        self.score = nn.Identity()
        self.flat = flat

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> None:
        if self.flat:
            self.score(inputs.mean(dim=(2, 3)))
            return
        self.score(inputs[:, :, ::2, ::2])
        self.score(inputs.mean(dim=(2, 3), keepdim=True))


@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
def test_the_highest_class_of_the_most_confident_level(activation: str) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 4, 6)
    found = teacher_confidence(Head(), LogitDistiller('score', activation=activation), inputs)
    logits = inputs[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3), inputs.mean((2, 3), keepdim=True)
    first, second = (
        (level.sigmoid() if activation == 'sigmoid' else level.softmax(dim=1)).amax(dim=1) for level in logits
    )
    torch.testing.assert_close(found, torch.maximum(first, second))
    assert (found == first).any() and (found > first).any()


def test_scores_that_are_no_maps_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'logits: the class scores are no maps .* leave --checkpoint out'):
        teacher_confidence(Head(flat=True), LogitDistiller('score'), torch.zeros(1, 3, 4, 4))


def test_a_pixel_has_the_value_of_its_cell() -> None:
    assert highest([torch.tensor([[[0.2], [0.4]]])], (4, 2))[0].tolist() == [
        [pytest.approx(v)] * 2 for v in (0.2, 0.2, 0.4, 0.4)
    ]
