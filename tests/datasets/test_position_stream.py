"""The stream keyed by position: equal for any number of workers and ranks and after a restart, without a trace."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from kd_plugins.datasets.position_stream import (
    PositionSampler,
    PositionStream,
    SeededDataset,
    epoch_order,
    global_position,
    image_index,
    seeded,
)
from kd_plugins.errors import ConfigError
from kd_plugins.utils.rng import position_seed
from tests.ranks import on_two_ranks

BCCD = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bccd'


class Noisy(Dataset[Any]):
    """Items that draw from all three generators, as random transforms do."""

    def __init__(self, size: int = 7) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


class Broken(Noisy):
    def __getitem__(self, index: int) -> Any:
        raise OSError('cannot read')


def together(items: list[Any]) -> list[Any]:
    return items


def noisy_stream(size: int = 7, batch_size: int = 3, seed: int = 5, **options: Any) -> PositionStream:
    ranks = {name: options.pop(name) for name in ('rank', 'world_size') if name in options}
    loader = dict(batch_size=batch_size, dataset=Noisy(size), collate_fn=together, **options)
    return PositionStream(loader, seed=seed, **ranks)


def batches(stream: PositionStream, start: int, stop: int) -> list[Any]:
    found = [stream.batch(iteration) for iteration in range(start, stop)]
    stream.close()
    return found


def states() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), kind, keys.tobytes(), *rest, torch.get_rng_state().numpy().tobytes()


@contextmanager
def undisturbed() -> Iterator[None]:
    before = states()
    yield
    assert states() == before


def test_positions_count_iterations_then_ranks_then_places() -> None:
    positions = [global_position(i, 2, 3, r, j) for i in range(4) for r in range(2) for j in range(3)]
    assert positions == list(range(24))


@pytest.mark.parametrize('size', [1, 5, 16])
def test_every_epoch_has_each_index_once_in_an_order_of_its_own(size: int) -> None:
    epochs = [[image_index(epoch * size + place, size, 3) for place in range(size)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    if size == 16:
        assert len({tuple(epoch) for epoch in epochs}) == 4
        assert epochs[0] != [image_index(place, size, 4) for place in range(size)]


def test_orders_and_seeds_are_the_same_on_every_machine() -> None:
    """Golden values: a resume on another machine, or after an upgrade of NumPy, sees the same images."""
    assert epoch_order(0, 0, 8).tolist() == [3, 1, 0, 2, 6, 4, 7, 5]
    assert position_seed(0, 7) == 3452057027
    assert position_seed(-1, 2**70) != position_seed(-1, 2**70 + 1)


def test_seeded_repeats_and_restores() -> None:
    with undisturbed():
        with seeded(9):
            first = Noisy()[0]
        with seeded(9):
            assert Noisy()[0] == first
        with seeded(10):
            assert all(a != b for a, b in zip(Noisy()[0][1:], first[1:]))
        with pytest.raises(OSError), seeded(9):
            Broken()[0]


def test_an_item_depends_on_its_position_and_not_on_what_came_before() -> None:
    dataset = SeededDataset(Noisy(), seed=2)
    first = dataset[4, 1]
    Noisy()[0]
    assert dataset[4, 1] == first
    assert dataset[11, 1] != first  # the same image in a later epoch is augmented in another way


def test_the_sampler_of_a_later_start_is_the_tail() -> None:
    def keys(start: int, count: int) -> list[tuple[int, int]]:
        iterator = iter(PositionSampler(5, 2, seed=1, start=start, rank=1, world_size=3))
        return [next(iterator) for _ in range(count)]

    assert keys(4, 8) == keys(0, 16)[8:]


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('size', [2, 7])
def test_a_stream_that_starts_later_is_the_tail_of_one_from_0(workers: int, size: int) -> None:
    whole = batches(noisy_stream(size), 0, 8)
    assert all(len(batch) == 3 for batch in whole)  # also where the data set is smaller than a batch
    assert batches(noisy_stream(size, num_workers=workers), 0, 8) == whole
    assert batches(noisy_stream(size, num_workers=workers), 5, 8) == whole[5:]
    assert batches(noisy_stream(size, seed=6), 0, 8) != whole
    flat = [item[0] for batch in whole for item in batch]
    assert all(sorted(flat[i : i + size]) == list(range(size)) for i in range(0, len(flat) - size + 1, size))


@pytest.mark.parametrize('workers', [0, 2])
def test_two_ranks_see_what_one_sees_with_twice_the_batch(workers: int) -> None:
    one = batches(noisy_stream(batch_size=4), 0, 5)
    halves = [
        batches(noisy_stream(batch_size=2, rank=rank, world_size=2, num_workers=workers), 0, 5) for rank in range(2)
    ]
    assert [first + second for first, second in zip(*halves)] == one


def three_batches() -> list[Any]:
    return batches(noisy_stream(batch_size=2), 0, 3)


@pytest.mark.distributed
def test_the_ranks_of_torch_distributed_are_used(tmp_path: Path) -> None:
    halves = on_two_ranks(tmp_path, three_batches)
    assert [first + second for first, second in zip(*halves)] == batches(noisy_stream(batch_size=4), 0, 3)


@pytest.mark.parametrize('workers', [0, 2])
def test_an_iteration_out_of_turn_restarts_the_stream(workers: int) -> None:
    whole = batches(noisy_stream(), 0, 6)
    stream = noisy_stream(num_workers=workers)
    try:
        assert [stream.batch(i) for i in (0, 1, 1, 5, 2, 3)] == [whole[i] for i in (0, 1, 1, 5, 2, 3)]
        stream.close()
        assert stream.batch(4) == whole[4]
    finally:
        stream.close()


@pytest.mark.parametrize('options', [{}, {'num_workers': 2}, {'num_workers': 2, 'persistent_workers': True}])
def test_the_generators_of_the_run_are_untouched(options: dict[str, Any]) -> None:
    with undisturbed():
        stream = noisy_stream(**options)
    with undisturbed():
        for iteration in range(4):
            stream.batch(iteration)
    with undisturbed():
        stream.batch(1)
        stream.close()
        stream.close()


class DrawsWhenBuilt(Noisy):
    def full_init(self) -> None:
        self.drawn = Noisy()[0]


def test_what_a_data_set_draws_while_it_is_built_is_repeated() -> None:
    with undisturbed():
        built = [PositionStream(dict(batch_size=1, dataset=DrawsWhenBuilt()), seed=seed) for seed in (1, 1, 2)]
    drawn: list[Any] = [stream.dataset.dataset.drawn for stream in built]  # type: ignore[attr-defined]
    assert drawn[0] == drawn[1] != drawn[2]


def test_workers_start_with_the_first_batch_and_end_with_close() -> None:
    before = set(multiprocessing.active_children())
    stream = noisy_stream(num_workers=2, persistent_workers=True, prefetch_factor=3)
    assert set(multiprocessing.active_children()) == before
    stream.batch(0)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    loader = stream._batches
    assert loader._prefetch_factor == 3 and loader._persistent_workers  # type: ignore[union-attr]
    stream.close()
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize('workers', [0, 2])
def test_an_item_that_cannot_be_read_raises_and_ends_the_workers(workers: int) -> None:
    before = set(multiprocessing.active_children())
    stream = PositionStream(dict(batch_size=2, num_workers=workers, dataset=Broken()))
    with undisturbed(), pytest.raises(OSError, match='cannot read'):
        stream.batch(0)
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize(
    ('loader', 'match'),
    [
        (3, 'unlabelled.dataloader is 3; give dict'),
        (dict(dataset=Noisy()), 'unlabelled.dataloader has no batch_size'),
        (dict(batch_size=2), 'unlabelled.dataloader has no dataset'),
        (dict(batch_size=0, dataset=Noisy()), 'batch_size is 0; it must be an integer of at least 1'),
        (dict(batch_size=2, dataset=Noisy(), num_workers=-1), 'num_workers is -1; valid: 0'),
        (dict(batch_size=2, dataset=Noisy(), sampler=dict(type='InfiniteSampler')), 'sampler is not used: the stream'),
        (dict(batch_size=2, dataset=Noisy(), num_worker=2), "no setting 'num_worker'; nearest: 'num_workers'"),
        (dict(batch_size=2, dataset=Noisy(), persistent_workers=True), 'persistent_workers is True and num_workers is'),
        (dict(batch_size=2, dataset=Noisy(), num_workers=2, prefetch_factor=0), 'prefetch_factor is 0; valid: None, 2'),
        (dict(batch_size=2, dataset=Noisy(), collate_fn='pseudo_colate'), "is 'pseudo_colate'; nearest: 'pseudo_col"),
        (dict(batch_size=2, dataset=Noisy(0)), 'unlabelled.dataloader.dataset is empty'),
        (dict(batch_size=2, dataset=5), r'dataset is 5; give dict\(type='),
        (
            dict(batch_size=2, dataset=dict(type='kd_plugins.ImageFolder', data_root='/no')),
            '^unlabelled.dataloader.dataset.data_root',
        ),
        (dict(batch_size=2, dataset=dict(type='kd_plugins.ImageFoldr')), 'dataset cannot be built: .*ImageFoldr'),
        (
            dict(batch_size=2, dataset=BaseDataset(ann_file='/missing.json', lazy_init=True)),
            'dataset cannot be built: .*missing.json',
        ),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(loader: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        PositionStream(loader)
    assert '\n' not in str(caught.value)


@pytest.mark.skipif(not BCCD.is_dir(), reason='needs ../shared/data/bccd')
def test_real_images_and_random_transforms_of_mmdet_repeat_by_position() -> None:
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='RandomResize', scale=(160, 120), ratio_range=(0.5, 1.5), keep_ratio=True),
        dict(type='PhotoMetricDistortion'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]
    folder = dict(type='kd_plugins.ImageFolder', data_root=str(BCCD / 'JPEGImages'), pipeline=steps)

    def three(start: int, workers: int) -> list[Any]:
        loader = dict(batch_size=2, num_workers=workers, dataset=dict(folder, indices=5))
        return batches(PositionStream(loader, seed=1), start, start + 3)

    with undisturbed():
        one, other = three(2, 0), three(2, 2)
    for a, b in zip(one, other):
        assert len(a['inputs']) == 2
        assert [sample.img_path for sample in a['data_samples']] == [sample.img_path for sample in b['data_samples']]
        assert all(torch.equal(x, y) for x, y in zip(a['inputs'], b['inputs']))
        assert all(len(sample.gt_instances) == 0 for sample in a['data_samples'])
    shapes = {tuple(x.shape) for batch in one for x in batch['inputs']}
    assert len(shapes) > 1  # the transforms are random
