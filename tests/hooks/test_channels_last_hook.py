"""A run in channels-last order is the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kd_plugins.hooks import ChannelsLastHook


class Images(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(index))}


class Network(nn.Module):
    """Convolutions of both kinds, and a four-dimensional parameter that belongs to none."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2))
        self.deep = nn.Conv3d(2, 3, (2, 3, 3))
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.seen: Tensor | None = None

    def forward(self, inputs: Tensor, mode: str = 'loss') -> dict[str, Tensor]:
        maps = self.flat(inputs) * self.scale
        self.seen = maps.detach()
        return {'loss': self.deep(maps.unflatten(1, (2, 2))).square().mean()}

    def train_step(self, data: dict[str, Tensor], optim_wrapper: Any) -> dict[str, Tensor]:
        losses = self(data['inputs'].flatten(0, 1))
        optim_wrapper.update_params(losses['loss'])
        return losses


def trained(work_dir: Path, hooks: list[Any]) -> Network:
    torch.manual_seed(0)
    network = Network()
    Runner(
        network,
        str(work_dir),
        train_dataloader=DataLoader(Images(), batch_size=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        custom_hooks=hooks,
        experiment_name=work_dir.name,
    ).train()
    return network


def test_same_training_in_another_order(tmp_path: Path) -> None:
    plain = trained(tmp_path / 'plain', [])
    ours = trained(tmp_path / 'ours', [ChannelsLastHook()])
    assert ours.flat[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert ours.deep.weight.is_contiguous(memory_format=torch.channels_last_3d)
    # What the convolutions give follows their weights, or nothing would be gained.
    assert ours.seen is not None and ours.seen.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())
    initial = Network().state_dict()
    assert not torch.equal(initial['flat.0.weight'], plain.flat[0].weight)


def test_checkpoint_fits_the_plain_network(tmp_path: Path) -> None:
    ours = trained(tmp_path, [ChannelsLastHook()])
    saved = torch.load(tmp_path / 'epoch_2.pth', map_location='cpu', weights_only=False)
    plain = Network()
    plain.load_state_dict(saved['state_dict'])
    inputs = torch.randn(2, 6, 8, 8)
    plain.eval()
    ours.eval()
    torch.testing.assert_close(plain(inputs), ours(inputs))
