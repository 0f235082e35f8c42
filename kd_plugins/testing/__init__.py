"""Generated batches for commands and tests that have no data set, one module for each OpenMMLab package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

from ..config.loading import walk
from ..errors import ConfigError
from . import detection, lidar, pose, segmentation, volumes

# A config's ``default_scope`` to what returns ``train_dataloader.dataset`` for it, from the config and a batch size.
# The data set has a few different items and an ordinary length: schedules by epoch and warm-ups need one.
GENERATORS: dict[str, Callable[[Config, int], dict[str, Any]]] = {
    'mmdet': detection.generated_dataset,
    'mmdet3d': lidar.generated_dataset,
    'mmengine': volumes.generated_dataset,  # a VolumetricSegmentor needs no other package's scope
    'mmpose': pose.generated_dataset,
    'mmseg': segmentation.generated_dataset,
}


def use_generated_data(config: Config, batch_size: int = 2) -> None:
    """Let a config train on generated data instead of its data set.

    Args:
        config: Changed in place.
        batch_size: Samples per batch.

    Raises:
        ConfigError: If data for the config's package cannot be generated.
    """
    scope = config.get('default_scope')
    if scope not in GENERATORS:
        names = ' and '.join(f"'{name}'" for name in GENERATORS)
        raise ConfigError(
            f"--generated: default_scope is '{scope}'; data is generated for {names} only, so a data set is needed"
        )
    config.train_dataloader = ConfigDict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
        dataset=GENERATORS[scope](config, batch_size),
    )


def strip_pretrained(node: Any) -> Iterator[str]:
    """Remove every ``init_cfg`` or ``pretrained`` that loads a file, and yield what was removed."""
    for path, found in list(walk(node)):
        init = found.get('init_cfg')
        if isinstance(init, dict) and init.get('type') == 'Pretrained':
            found['init_cfg'] = None
            yield f'{path}.init_cfg ({init.get("checkpoint")})'
        if isinstance(found.get('pretrained'), str):  # the older way, which MMSegmentation's configs still take
            removed, found['pretrained'] = found['pretrained'], None
            yield f'{path}.pretrained ({removed})'


__all__ = ['GENERATORS', 'strip_pretrained', 'use_generated_data']
