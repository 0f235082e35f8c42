"""Unlabelled points, a view and students for tests of the student's second pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_plugins.pseudo_labels import PseudoLabels
from kd_plugins.registry import MODELS
from kd_plugins.views import BaseView
from tests.hooks.tiny_runs import GAP, TinyStudent


class OtherPoints(Dataset[dict[str, Tensor]]):
    """Pairs of numbers without labels; entry ``i`` depends on ``i`` and a draw. ``reads`` gets a file for each read."""

    def __init__(self, reads: Path | None = None) -> None:
        self.reads = reads

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if self.reads is not None:
            # A file also tells about reads in another process.
            self.reads.mkdir(exist_ok=True)
            (self.reads / f'{index}').touch()
        point = torch.randn(2, generator=torch.Generator().manual_seed(100 + index))
        return {'inputs': point + 0.1 * torch.rand(())}


class BrokenPoints(OtherPoints):
    """A data set whose files are damaged."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        raise OSError(f'point {index} is damaged')


@MODELS.register_module(force=True)
class NoiseView(BaseView):
    """Noise of the seed; ``seeds`` keeps them."""

    seeds: list[int] = []

    def __call__(self, inputs: Tensor, samples: Any, seed: int) -> Tensor:
        self.seeds.append(seed)
        return inputs + torch.randn(inputs.shape, generator=torch.Generator().manual_seed(seed))


@MODELS.register_module(force=True)
class NormedStudent(TinyStudent):
    """A student with a BatchNorm layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = self.second(self.dropout(self.norm(self.first(inputs)).relu()))
        if mode != 'loss':
            return outputs
        targets = torch.zeros_like(outputs) if data_samples is None else data_samples
        return {'loss_task': (outputs - targets).square().mean(), 'accuracy': outputs.detach().mean()}

    def predict(self, inputs: Tensor, data_samples: Any) -> list[Tensor]:
        return list(self(inputs, data_samples, mode='predict'))


@MODELS.register_module(force=True)
class RoundedLabels(PseudoLabels):
    """The predictions, rounded; the state counts calls."""

    calls = 0

    def __call__(self, predictions: Any, samples: Any) -> Any:
        self.calls += 1
        return torch.stack([prediction.round() for prediction in predictions])

    def state_dict(self) -> dict[str, Any]:
        return {'calls': self.calls}

    def load_state_dict(self, state: Any) -> None:
        self.calls = state['calls']


ON: dict[str, Any] = {**GAP, 'on': 'unlabelled'}
NOISE: dict[str, Any] = {'type': 'kd_plugins.NoiseView'}
ROUNDED: dict[str, Any] = {'type': 'kd_plugins.RoundedLabels'}


def images(dataset: Any = None, batch_size: int = 2, **settings: Any) -> dict[str, Any]:
    """Return the setting ``unlabelled`` of a hook."""
    dataset = OtherPoints() if dataset is None else dataset
    loader = dict(batch_size=batch_size, dataset=dataset, collate_fn='default_collate')
    return {'dataloader': loader, **settings}
