"""Draw a small batch of a data loader's items in a process of its own, so that loader and data set stay untouched."""

from __future__ import annotations

import multiprocessing
import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

SECONDS = 120
"""Time after which a process that gives no batch is ended."""
CANDIDATES = 16
"""Number of items that are read in search of items with objects."""
OBJECTS = ('gt_instances', 'gt_instances_3d')
"""Fields of OpenMMLab's data samples that hold the objects of an item."""


class NoSampleError(Exception):
    """A loader of which no batch can be drawn; the message is the reason."""


def draw_batch(loader: Any) -> Any:
    """Return a batch of the first one or two items of a loader's data set, as the loader collates them.

    Data sets have state: caches of mosaic, generators of their own, open files. The items are therefore read in a
    forked process, as by a worker of a loader, and the order, the workers and the generators of the run stay as they
    are. Every rank draws the same batch.

    Args:
        loader: The data loader of a run.

    Raises:
        NoSampleError: If it is no loader of indexed data, this process cannot be forked, or reading fails.
    """
    dataset = getattr(loader, 'dataset', None)
    if not isinstance(loader, DataLoader) or isinstance(dataset, IterableDataset) or not hasattr(dataset, '__len__'):
        raise NoSampleError('train_dataloader is not a DataLoader of a data set with indices')
    if loader.num_workers and loader.multiprocessing_context is not None:
        method = loader.multiprocessing_context.get_start_method()
    else:
        method = multiprocessing.get_start_method()
    if method != 'fork':
        raise NoSampleError(f"processes start by '{method}' here, which cannot read the data set as it is")
    items = DataLoader(
        _SampleBatch(dataset, loader.collate_fn, min(2, batch_size(loader))),
        batch_size=None,
        num_workers=1,
        collate_fn=_unchanged,
        worker_init_fn=loader.worker_init_fn if loader.num_workers else None,
        timeout=SECONDS,
        generator=torch.Generator(),
        multiprocessing_context='fork',
    )
    try:
        with warnings.catch_warnings():
            # Python warns of every fork in a process with threads.
            warnings.simplefilter('ignore')
            return next(iter(items))
    # Anything may go wrong in a data set, and the run itself will report it.
    except Exception as error:
        # The last line of a worker's error names the cause, the lines before are its traceback.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NoSampleError(f'reading an item fails ({lines[-1]})') from error


def batch_size(loader: DataLoader[Any]) -> int:
    """Return the number of items in a batch; 2 where a sampler of batches does not tell.

    >>> batch_size(DataLoader([1, 2, 3], batch_size=3))
    3
    """
    size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    return size if isinstance(size, int) and size > 0 else 2


class _SampleBatch(Dataset[Any]):
    """A data set of one item: the collated batch, for a worker process."""

    def __init__(self, dataset: Any, collate: Any, size: int) -> None:
        self.dataset = dataset
        self.collate = collate
        self.size = size

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        # Augmentation draws the same numbers on every rank.
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        with_objects: list[Any] = []
        without: list[Any] = []
        length = len(self.dataset)
        # A data set of one item gives it twice.
        for candidate in range(max(self.size, min(CANDIDATES, length))):
            item = self.dataset[candidate % length]
            if item is None:
                continue
            (with_objects if has_objects(item) else without).append(item)
            if len(with_objects) == self.size:
                break
        items = [*with_objects, *without][: self.size]
        if not items:
            raise NoSampleError(f'the first {CANDIDATES} items of the data set are None')
        return self.collate(items)


def has_objects(item: Any) -> bool:
    """Return whether an item or a batch has objects, or is of a kind without, such as the image of a segmentation.

    >>> from types import SimpleNamespace
    >>> has_objects({'inputs': 0}), has_objects({'inputs': 0, 'data_samples': SimpleNamespace(gt_instances=[])})
    (True, False)
    """
    sample = item.get('data_samples') if isinstance(item, Mapping) else None
    samples = sample if isinstance(sample, (list, tuple)) else [sample]
    fields = [getattr(one, name) for one in samples for name in OBJECTS if getattr(one, name, None) is not None]
    return not fields or any(len(field) > 0 for field in fields)


def _unchanged(batch: Any) -> Any:
    return batch
