"""An endless stream of batches in which the position alone decides about image and augmentation.

The sample at global position ``p`` is a function of the seed and ``p``: neither the number of workers, nor the number
of ranks, nor an interruption changes it, and no state has to be saved. Nothing here draws from the random generators of
the run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol, cast

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import FUNCTIONS
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import ConfigError, nearest
from ..utils.argument_types import shown
from ..utils.build import first_line
from ..utils.checks import check_flag, check_integer
from ..utils.rng import position_seed

OPTIONS = (
    'batch_size',
    'collate_fn',
    'dataset',
    'multiprocessing_context',
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
    'timeout',
)
"""Settings of a stream's dataloader; the order of the images is the stream's own."""
ORDERING = ('batch_sampler', 'drop_last', 'generator', 'num_batch_per_epoch', 'sampler', 'shuffle')

Key = tuple[int, int]
"""Global position of a sample, and index of its image in the data set."""


class SizedItems(Sized, Protocol):
    """A map-style data set with a length."""

    def __getitem__(self, index: int) -> Any:
        """Return one item."""


def global_position(iteration: int, world_size: int, batch_size: int, rank: int, place: int) -> int:
    r"""Return the position of a sample in the stream, :math:`p = (i W + r) B + j`.

    Args:
        iteration: Training iteration :math:`i`, from 0.
        world_size: Number of ranks :math:`W`.
        batch_size: Images of a rank in one iteration, :math:`B`.
        rank: Rank :math:`r`, from 0.
        place: Place in the batch of the rank, :math:`j`, from 0.

    >>> [global_position(3, 2, 4, rank, 0) for rank in range(2)], global_position(3, 1, 8, 0, 4)
    ([24, 28], 28)
    """
    return (iteration * world_size + rank) * batch_size + place


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """Return the order of the images in one epoch of the stream, shape (size,).

    ``RandomState`` is used because NumPy guarantees that its streams do not change between versions.

    Args:
        seed: Seed of the stream.
        epoch: Epoch, from 0.
        size: Number of images.

    >>> sorted(epoch_order(0, 1, 4).tolist())
    [0, 1, 2, 3]
    """
    order = np.random.RandomState(position_seed(seed, 'epoch', epoch)).permutation(size)
    order.setflags(write=False)  # the cache hands out one array
    return order


def image_index(position: int, size: int, seed: int) -> int:
    """Return the index of the image at a position of the stream.

    Args:
        position: Global position, from 0.
        size: Number of images.
        seed: Seed of the stream.

    >>> sorted(image_index(position, 3, 0) for position in range(3, 6))
    [0, 1, 2]
    """
    return int(epoch_order(seed, position // size, size)[position % size])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and PyTorch's CPU generator, and restore their states when the context ends.

    Generators of accelerators are left alone: a worker process cannot reach them.

    Args:
        seed: From 0 to 2^32 - 1.

    >>> with seeded(1):
    ...     first = random.random()
    >>> with seeded(1):
    ...     print(first == random.random())
    True
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators too
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class PositionSampler(Sampler[Key]):
    """Endless sampler of the positions of one rank, with the index of the image at each.

    Args:
        size: Number of images.
        batch_size: Images of a rank in one iteration.
        seed: Seed of the stream, the same on all ranks.
        start: Iteration of the first batch.
        rank: Rank of this process.
        world_size: Number of ranks.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int = 0, start: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.start, self.rank, self.world_size = start, rank, world_size

    def __iter__(self) -> Iterator[Key]:
        iteration = self.start
        while True:
            for place in range(self.batch_size):
                position = global_position(iteration, self.world_size, self.batch_size, self.rank, place)
                yield position, image_index(position, self.size, self.seed)
            iteration += 1


class SeededDataset(Dataset[Any]):
    """Data set whose items are drawn with random generators seeded by their position in the stream.

    Args:
        dataset: The data set.
        seed: Seed of the stream.
    """

    def __init__(self, dataset: SizedItems, seed: int = 0) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Any:
        position, index = key
        with seeded(position_seed(self.seed, position)):
            return self.dataset[index]


class PositionStream:
    """Batches of a data set by iteration.

    The data set is built at once, so that its errors come before the first training step. Images are read and workers
    are started when the first batch is asked for.

    Args:
        dataloader: ``dict(batch_size=..., dataset=...)`` and the settings in :data:`OPTIONS`, as in MMEngine.
            ``dataset`` is a config or a data set. ``batch_size`` counts the images of one rank.
        seed: Seed of the stream, the same on all ranks and after a resume.
        rank: Rank of this process; None asks ``torch.distributed``.
        world_size: Number of ranks; None asks ``torch.distributed``.
        key: Config key of the dataloader, for error sentences.

    Raises:
        ConfigError: If a setting is unknown or does not fit, or if the data set is empty or cannot be built.

    >>> stream = PositionStream(dict(batch_size=2, dataset=range(4)))
    >>> first = stream.batch(0) + stream.batch(1)
    >>> sorted(first), stream.batch(1) == first[2:]
    ([0, 1, 2, 3], True)
    >>> stream.close()
    """

    def __init__(
        self,
        dataloader: Mapping[str, Any],
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        key: str = 'unlabelled.dataloader',
    ) -> None:
        self._settings = check_settings(dataloader, key)
        self._collate = _collate_function(self._settings.pop('collate_fn', 'pseudo_collate'), key)
        here = get_dist_info()
        self.seed = seed
        self.rank = here[0] if rank is None else rank
        self.world_size = here[1] if world_size is None else world_size
        self.batch_size: int = self._settings['batch_size']
        with seeded(position_seed(seed, 'build')):
            self.dataset = SeededDataset(_build_dataset(self._settings.pop('dataset'), key), seed)
        if not len(self.dataset):
            raise ConfigError(f'{key}.dataset is empty; give a data set with at least one image')
        self._batches: Iterator[Any] | None = None
        self._next = 0

    def batch(self, iteration: int) -> Any:
        """Return the batch of an iteration.

        Successive iterations are loaded ahead by the workers. Any other iteration starts the loader again.

        Args:
            iteration: Training iteration, from 0.
        """
        if self._batches is None or iteration != self._next:
            self.close()
            self._batches = iter(self._loader(iteration))
        try:
            batch = next(self._batches)
        except BaseException:
            self.close()  # the loader has lost its place
            raise
        self._next = iteration + 1
        return batch

    def close(self) -> None:
        """Stop the workers; a later call of :meth:`batch` starts them again."""
        batches, self._batches = self._batches, None
        # The loader of a single process has nothing to stop. Without this call, workers end when Python collects the
        # iterator, which a traceback can delay.
        stop = getattr(batches, '_shutdown_workers', None)
        if stop is not None:
            stop()

    def sample_loader(self) -> DataLoader[Any]:
        """Return a loader of the images in their order in the data set, to read a few in another process."""
        return DataLoader(
            self.dataset.dataset,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            collate_fn=self._collate,
        )

    def _loader(self, start: int) -> DataLoader[Any]:
        sampler = PositionSampler(
            len(self.dataset), self.batch_size, self.seed, start, rank=self.rank, world_size=self.world_size
        )
        # A loader draws the base seed of its workers, from the run's generator unless it has one of its own.
        generator = torch.Generator()
        generator.manual_seed(position_seed(self.seed, 'loader', start))
        return DataLoader(
            self.dataset, sampler=sampler, collate_fn=self._collate, generator=generator, **self._settings
        )


def check_settings(dataloader: Any, key: str) -> dict[str, Any]:
    """Return a copy of the settings of a dataloader, checked; its data set is not built.

    Args:
        dataloader: The settings.
        key: Their config key, for error sentences.

    Raises:
        ConfigError: If a setting is missing, unknown or of the wrong kind.
    """
    if not isinstance(dataloader, Mapping):
        raise ConfigError(f'{key} is {shown(dataloader)}; give dict(batch_size=..., dataset=...)')
    settings = dict(dataloader)
    for name in settings:
        if name in ORDERING:
            raise ConfigError(f'{key}.{name} is not used: the stream has its own order; remove it')
        if name not in OPTIONS:
            raise ConfigError(f'{key} has no setting {shown(name)}; {nearest(name, OPTIONS)}')
    for name in ('batch_size', 'dataset'):
        if name not in settings:
            raise ConfigError(f'{key} has no {name}; give dict(batch_size=..., dataset=...)')
    check_integer(f'{key}.batch_size', settings['batch_size'], 1, 'it must be an integer of at least 1')
    workers = settings.get('num_workers', 0)
    check_integer(f'{key}.num_workers', workers, 0, 'valid: 0 (no worker processes), 2', maximum=1024)
    check_flag(f'{key}.persistent_workers', settings.get('persistent_workers', False))
    if workers == 0:
        for name in ('multiprocessing_context', 'persistent_workers', 'prefetch_factor', 'timeout'):
            if settings.get(name):
                raise ConfigError(f'{key}.{name} is {shown(settings[name])} and num_workers is 0; valid: num_workers=2')
    if settings.get('prefetch_factor') is not None:
        check_integer(f'{key}.prefetch_factor', settings['prefetch_factor'], 1, 'valid: None, 2')
    return settings


def _collate_function(config: Any, key: str) -> Any:
    """Return the function that joins items to a batch: a name, ``dict(type=..., **arguments)`` or a function."""
    if callable(config):
        return config
    arguments = dict(config) if isinstance(config, Mapping) else {'type': config}
    name = arguments.pop('type', None)
    function = FUNCTIONS.get(name) if isinstance(name, str) else name
    if not callable(function):
        known = list(FUNCTIONS.module_dict)
        raise ConfigError(f'{key}.collate_fn is {shown(name)}; {nearest(str(name), known)}')
    return _Collate(function, arguments)


class _Collate:
    """A collate function with its arguments, which worker processes of any start method can receive."""

    def __init__(self, function: Any, arguments: dict[str, Any]) -> None:
        self.function, self.arguments = function, arguments

    def __call__(self, items: list[Any]) -> Any:
        return self.function(items, **self.arguments)


def _build_dataset(config: Any, key: str) -> SizedItems:
    """Return the data set of a config, with its list of images read."""
    try:
        dataset = MMENGINE_DATASETS.build(dict(config)) if isinstance(config, Mapping) else config
        if hasattr(dataset, 'full_init'):  # once here, not once in each worker
            dataset.full_init()
    except ConfigError as error:
        text = str(error)
        raise (ConfigError(f'{key}.{text}') if text.startswith('dataset.') else error) from error
    except (AssertionError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f'{key}.dataset cannot be built: {first_line(error)}') from error
    if not isinstance(dataset, Sized) or not hasattr(dataset, '__getitem__'):
        raise ConfigError(
            f"{key}.dataset is {shown(config)}; give dict(type='kd_plugins.ImageFolder', data_root=..., pipeline=[...])"
        )
    return cast(SizedItems, dataset)
