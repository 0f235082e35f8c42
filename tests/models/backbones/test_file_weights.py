"""Backbones with weights from a file: when they are loaded, and what happens without the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.models.backbones.file_weights import FileWeightsBackbone


class Scale(FileWeightsBackbone):
    """A backbone of one number."""

    model = 'scale'

    def __init__(self, weights: str | None = None) -> None:
        super().__init__(weights)
        self.scale = nn.Parameter(torch.zeros(1))

    def load_file(self, path: Path, key: str) -> None:
        self.load_state_dict(torch.load(path, weights_only=True))

    def forward(self, x: Tensor) -> Tensor:
        self.check_weights()
        return self.scale * x


def test_file_is_loaded_once_by_init_weights(tmp_path: Path) -> None:
    path = tmp_path / 'scale.pth'
    torch.save({'scale': torch.ones(1)}, path)
    backbone = Scale(str(path))
    assert backbone.scale.item() == 0
    backbone.init_weights()
    assert backbone.scale.item() == 1
    backbone.scale.data.fill_(2)
    backbone.init_weights()
    assert backbone.scale.item() == 2


def test_missing_file_is_refused_in_training_unless_a_checkpoint_came() -> None:
    backbone = Scale('missing.pth')
    backbone.init_weights()
    with pytest.raises(CheckpointError, match=r"backbone\.weights is 'missing\.pth', which does not exist"):
        backbone(torch.ones(1))
    assert not backbone.eval()(torch.ones(1)).any()
    nn.ModuleDict({'backbone': backbone}).load_state_dict({'backbone.scale': torch.ones(1)})
    assert backbone.train()(torch.ones(1)).item() == 1
    with pytest.raises(CheckpointError, match=r'model\.weights is .*, which does not exist'):
        backbone.load_weights('missing.pth', 'model.weights')
    with pytest.raises(ConfigError, match=r"backbone\.weights is 3; valid: None, 'path/to/file\.pth'"):
        Scale(3)  # type: ignore[arg-type]
