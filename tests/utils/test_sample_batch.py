"""Batches that are drawn beside a data loader."""

from __future__ import annotations

import multiprocessing
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

from kd_plugins.utils.sample_batch import CANDIDATES, NoSampleError, draw_batch


class Stateful(Dataset[Any]):
    """Items that depend on what was read before, and on generators of their own and of the process."""

    def __init__(self, length: int = 8) -> None:
        self.length = length
        self.read: list[int] = []
        self.generator = np.random.RandomState(0)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return {'index': index, 'own': self.generator.rand(), 'count': len(self.read), 'noise': random.random()}


class Items(Dataset[Any]):
    """A list as a data set."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        item = self.items[index]
        if isinstance(item, Exception):
            raise item
        return item


def as_list(items: list[Any]) -> list[Any]:
    return items


def packed(objects: int | None, index: int = 0) -> dict[str, Any]:
    """Return an item as OpenMMLab packs it; ``None`` for a kind without objects."""
    sample = SimpleNamespace() if objects is None else SimpleNamespace(gt_instances=[0] * objects)
    return {'inputs': index, 'data_samples': sample}


def indices(batch: list[Any]) -> list[int]:
    return [item['inputs'] for item in batch]


@pytest.mark.parametrize('num_workers', [0, 2])
def test_the_loader_goes_on_as_if_nothing_had_been_drawn(num_workers: int) -> None:
    def read(draw: bool) -> Any:
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(0)
        loader = DataLoader(
            Stateful(), batch_size=2, shuffle=True, num_workers=num_workers, persistent_workers=num_workers > 0
        )
        batches: list[Any] = []
        for _ in range(2):
            if draw:
                assert draw_batch(loader)['index'].tolist() == [0, 1]
            batches += [{key: value.tolist() for key, value in batch.items()} for batch in loader]
        return batches, random.random(), np.random.rand(), torch.rand(()).item(), loader.dataset.read

    random.seed(0)
    plain = read(draw=False)
    state = random.getstate(), torch.get_rng_state()
    drawn = read(draw=True)
    assert drawn == plain and random.getstate() == state[0] and torch.equal(torch.get_rng_state(), state[1])


def test_every_draw_gives_the_same_batch() -> None:
    loader = DataLoader(Stateful(), batch_size=4)
    first = draw_batch(loader)
    random.seed(5)
    assert first['noise'].tolist() == draw_batch(loader)['noise'].tolist() and len(first['noise']) == 2


@pytest.mark.parametrize(
    ('items', 'expected'),
    [
        ([None, packed(1, 1), None, packed(2, 3), packed(1, 4)], [1, 3]),
        ([packed(0, 0), packed(0, 1), packed(1, 2), packed(1, 3)], [2, 3]),
        ([packed(0, 0), packed(1, 1), packed(0, 2)], [1, 0]),
        ([packed(0, 0), packed(0, 1), packed(0, 2)], [0, 1]),
        ([packed(None, 0), packed(None, 1), packed(None, 2)], [0, 1]),
        ([packed(0, index) for index in range(CANDIDATES)] + [packed(1, 99)], [0, 1]),
        ([packed(1, 0)], [0, 0]),
    ],
)
def test_items_with_objects_come_first(items: list[Any], expected: list[int]) -> None:
    assert indices(draw_batch(DataLoader(Items(items), batch_size=8, collate_fn=as_list))) == expected


def test_a_batch_is_no_larger_than_those_of_the_run() -> None:
    items = Items([packed(1, index) for index in range(4)])
    assert indices(draw_batch(DataLoader(items, batch_size=1, collate_fn=as_list))) == [0]
    sampler = BatchSampler(SequentialSampler(items), batch_size=3, drop_last=False)
    assert indices(draw_batch(DataLoader(items, batch_sampler=sampler, collate_fn=as_list))) == [0, 1]


class Stream(IterableDataset[int]):
    """A stream of data."""

    def __iter__(self) -> Any:
        raise AssertionError('a stream must not be read: its items would be missing in the run')


def whole_batches(items: list[Any]) -> Any:
    raise ValueError('a batch must have 8 items\nand not fewer')


@pytest.mark.parametrize(
    ('loader', 'reason'),
    [
        ([1, 2], 'train_dataloader is not a DataLoader of a data set with indices'),
        (DataLoader(Stream()), 'train_dataloader is not a DataLoader'),
        (DataLoader(Items([None] * 3)), 'the first 16 items of the data set are None'),
        (DataLoader(Items([KeyError('ann'), 1])), r"reading an item fails \(KeyError: 'ann'\)"),
        (DataLoader(Items([1, 2]), collate_fn=whole_batches), r'reading an item fails \(and not fewer\)'),
    ],
)
def test_the_reason_why_there_is_no_batch(loader: Any, reason: str) -> None:
    with pytest.raises(NoSampleError, match=reason):
        draw_batch(loader)


def test_systems_without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, 'get_start_method', lambda: 'spawn')
    with pytest.raises(NoSampleError, match="processes start by 'spawn' here"):
        draw_batch(DataLoader(Stateful()))
    with pytest.raises(NoSampleError, match="processes start by 'spawn' here"):
        draw_batch(DataLoader(Stateful(), num_workers=1, multiprocessing_context='spawn'))
