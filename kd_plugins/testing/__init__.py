"""Generated data sets for commands and tests, one module for each OpenMMLab package."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from mmengine.config import Config, ConfigDict

from ..config.loading import class_name, walk
from ..config.pretrained import strip_pretrained
from ..config.second_stage import second_stages
from ..errors import ConfigError
from . import detection, lidar, pose, segmentation, volumes

HEIGHT = 96
"""Height in pixels of generated images where a model resizes its batches."""
# ``default_scope`` of a config to the function that returns the config of a generated data set that suits its model.
GENERATORS: dict[str, Callable[[Config], dict[str, Any]]] = {
    'mmdet': detection.generated_dataset,
    'mmdet3d': lidar.generated_dataset,
    'mmengine': volumes.generated_dataset,  # the scope of a VolumetricSegmentor
    'mmpose': pose.generated_dataset,
    'mmseg': segmentation.generated_dataset,
}


def use_generated_data(config: Config, batch_size: int = 2) -> None:
    """Replace the training data of a config by generated data: a few different items, repeated.

    Args:
        config: The config; changed in place.
        batch_size: Samples per batch; the data set has four batches of different samples, in 1000 batches.

    Raises:
        ConfigError: If there is no generator for the scope or the model of the config.
    """
    scope = config.get('default_scope')
    if scope not in GENERATORS:
        names = ' and '.join(f"'{name}'" for name in GENERATORS)
        raise ConfigError(f"generated data: default_scope is '{scope}'; data is generated for {names} only")
    dataset = {**GENERATORS[scope](config), 'num_items': 4 * batch_size, 'length': 1000 * batch_size}
    for _, node in walk(config.get('model')):
        if class_name(node) == 'BatchListResize':
            node['sizes'] = [HEIGHT]  # generated images are small, for speed
    for _, hook in second_stages(config):
        hook['pipeline'] = None  # generated items have no steps that could be replaced
    config.train_dataloader = ConfigDict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
        dataset=dataset,
    )


def unlabelled_dataset(config: Config) -> dict[str, Any]:
    """Return the config of the generated data set without the labels of pixels, as data set of unlabelled images.

    Boxes and joints stay in the samples, where nothing reads them.

    Args:
        config: A config after :func:`use_generated_data`.
    """
    dataset: dict[str, Any] = copy.deepcopy(config.train_dataloader.dataset)
    if config.get('default_scope') == 'mmseg':
        dataset['labelled'] = False
    return dataset


__all__ = ['GENERATORS', 'strip_pretrained', 'unlabelled_dataset', 'use_generated_data']
