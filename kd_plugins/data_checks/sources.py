"""Data sets of a config: their classes, class names, paths and pipeline steps, without building them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.utils import is_abs

from ..config.data_checks import LOADERS
from ..config.loading import class_name, walk

FILE_KEYS = ('data_root', 'ann_file', 'data_prefix')


@dataclass(frozen=True)
class Source:
    """One data set that reads files, inside any wrappers.

    Attributes:
        key: Its config key, such as ``train_dataloader.dataset.datasets.0``.
        loader: Config key of its data loader.
        node: Its config.
        dataset_type: Class or function that its type names; None where the registry does not know it.
        steps: Pipeline steps of the data set and of its wrappers.
    """

    key: str
    loader: str
    node: dict[str, Any]
    dataset_type: Any
    steps: tuple[dict[str, Any], ...]

    @property
    def trains(self) -> bool:
        """Whether the data set is that of the training."""
        return self.loader == 'train_dataloader'

    @property
    def is_local(self) -> bool:
        """Whether its files lie in the local file system."""
        backend = (self.node.get('backend_args') or {}).get('backend', 'local')
        return backend == 'local' and '://' not in str(self.node.get('data_root') or '')

    def inherits(self, package: str, name: str, *methods: str) -> bool:
        """Return whether the type is a class of this name and package, or inherits these methods from it.

        A function that builds a data set counts by its own name.
        """
        bases = getattr(self.dataset_type, '__mro__', (self.dataset_type,))
        base = next(
            (cls for cls in bases if getattr(cls, '__name__', '') == name and cls.__module__.startswith(package)), None
        )
        return base is not None and all(
            getattr(self.dataset_type, method, None) is getattr(base, method, None) for method in methods
        )

    def joined(self, path: str) -> str:
        """Return a path below ``data_root``, as MMEngine joins them."""
        root = self.node.get('data_root')
        return path if not root or not path or is_abs(path) else os.path.join(str(root), path)

    @property
    def ann_file(self) -> str:
        """Path of the annotation file; empty where there is none."""
        return self.joined(str(self.node.get('ann_file') or ''))

    def folder(self, *names: str) -> str:
        """Return the folder of the first of these names in ``data_prefix``."""
        prefix = self.node.get('data_prefix') or {}
        given = next((prefix[name] for name in names if isinstance(prefix.get(name), str)), '')
        return self.joined(given) if given else str(self.node.get('data_root') or '')

    def step(self, *types: str) -> dict[str, Any] | None:
        """Return the first pipeline step of one of these types, the scope left out."""
        return next((step for step in self.steps if class_name(step) in types), None)


def resolve_type(name: Any, scope: str) -> Any:
    """Return what a ``type`` names in the registry of data sets, None if it is not registered."""
    if not isinstance(name, str):
        return name
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.get(name)


def sources_of(config: Config, loaders: tuple[str, ...] = LOADERS) -> Iterator[Source]:
    """Yield each data set of the config that reads files.

    Args:
        config: The resolved config.
        loaders: Config keys of the data loaders that the run uses.
    """
    scope = config.get('default_scope') or 'mmengine'
    for loader in loaders:
        entry = config.get(loader)
        dataset = entry.get('dataset') if isinstance(entry, dict) else None  # a runner may be given a loader
        nodes = [
            (path, node)
            for path, node in walk(dataset, f'{loader}.dataset')
            if 'type' in node and 'pipeline' not in path.split('.') and 'metainfo' not in path.split('.')
        ]
        for path, node in nodes:
            if not any(node.get(key) for key in FILE_KEYS):
                continue
            outer = [other for at, other in nodes if path == at or path.startswith(f'{at}.')]
            steps = tuple(
                step
                for entry in outer
                for _, step in walk(entry.get('pipeline'))
                if isinstance(step.get('type'), (str, type))
            )
            yield Source(path, loader, node, resolve_type(node['type'], scope), steps)


def build_without_pipeline(source: Source, scope: str) -> Any:
    """Build a data set with an empty pipeline, so that its own class lists the files."""
    node = {name: value for name, value in source.node.items() if name not in ('pipeline', 'cache')}
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.build(dict(node, pipeline=[], serialize_data=False))
