"""Fusion of models: the cost of D-FINE, other models of images, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip('mmdet')

from mmengine.model import BaseModel

from kd_plugins.deployment.fusion import TOLERANCE, difference, fuse
from kd_plugins.errors import ConfigError, KDPluginsError
from tests.deployment.exported import HEIGHT, WIDTH, detector


def test_dfine_is_cheaper_and_the_same() -> None:
    model = detector(**{'decoder.num_layers': 3, 'decoder.eval_idx': 1})
    names = list(model.state_dict())
    result = fuse(model, HEIGHT, WIDTH)
    assert list(model.state_dict()) == names and not model.deployed, 'the given model stays'
    assert result.difference < 1e-9 and result.changed > 70
    assert result.after.parameters < result.before.parameters and result.after.flops < result.before.flops
    assert not any(value.requires_grad for value in result.model.parameters())
    assert {value.dtype for value in result.model.parameters()} == {torch.float32}
    again = fuse(result.model, HEIGHT, WIDTH)
    assert again.changed == 0 and again.before == again.after == result.after
    images = torch.rand(2, 3, HEIGHT, WIDTH)
    with torch.no_grad():
        for value, wanted in zip(result.model.raw_predictions(images), model.raw_predictions(images)):
            torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-4)


class Net(BaseModel):
    """A convolution and a norm whose names say that the norm follows; ``order`` says what is true."""

    def __init__(self, order: str, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1, self.order_of_calls = nn.Conv2d(channels, 3, 1), nn.BatchNorm2d(3), order
        nn.init.uniform_(self.bn1.weight, 0.5, 2.0)
        self.bn1.running_mean.add_(0.3)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Tensor:
        if self.order_of_calls == 'labels':
            return inputs + data_samples[0]
        if self.order_of_calls == 'norm last':
            return self.bn1(self.conv1(inputs))
        return self.conv1(self.bn1(inputs))


def test_a_nan_of_any_output_is_a_difference() -> None:
    good, bad = torch.ones(2), torch.tensor([1.0, torch.nan])
    assert not difference([good, bad, good], [good] * 3) <= TOLERANCE


def test_other_models_of_images() -> None:
    result = fuse(Net('norm last'), 32, 32)
    assert result.changed == 1 and result.before.flops == result.after.flops == 2 * 9 * 32 * 32
    assert (result.before.parameters, result.after.parameters) == (18, 12)
    assert fuse(Net('norm last', channels=1), 32, 32).changed == 1, 'grey images'


@pytest.mark.parametrize(
    ('model', 'kind', 'sentence'),
    [
        (Net('norm first'), KDPluginsError, "'Net' gives other outputs when it is fused: they differ by"),
        (Net('labels'), ConfigError, r"'Net' cannot be run on images alone \(TypeError: .*valid: detectors"),
        (nn.Sequential(nn.BatchNorm2d(3)), ConfigError, r"'Sequential' cannot be run on images alone"),
    ],
)
def test_refused(model: nn.Module, kind: type, sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        fuse(model, 32, 32)


def test_nothing_to_fuse_is_refused() -> None:
    model = Net('norm last')
    model.conv1 = nn.Conv1d(1, 1, 1)  # type: ignore[assignment]
    model.forward = lambda inputs, mode: inputs  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match='has nothing to fuse'):
        fuse(model, 32, 32)
