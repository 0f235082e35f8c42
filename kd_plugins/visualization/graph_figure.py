"""Figure of the points that a LocalGraphDistiller selects on an image or on a LiDAR frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from ..config.distillers import build_distiller
from ..distillers import Batch, LocalGraphDistiller
from ..errors import ConfigError, nearest
from ..taps import TapSet
from .graph import GraphPicture, draw_graph, draw_graph_bev, picture_of, voxel_centers
from .loading import build_trained, check_keys, teacher_model
from .pictures import read_image


def graph_figure(
    config: Config,
    checkpoint: str,
    path: str,
    name: str | None = None,
    levels: Sequence[int] | None = None,
    top: int = 6,
    device: str = 'cpu',
) -> Any:
    """Return the figure of one image or frame.

    Args:
        config: A config with a LocalGraphDistiller.
        checkpoint: Weights of the network that teaches.
        path: An image, or the name of a frame (``.bin``) of the test set.
        name: Name of the distiller, if the config has several.
        levels: Levels to draw; by default all.
        top: Number of points whose neighbours are drawn.
        device: Device to run on.

    Raises:
        ConfigError: If the config has no such distiller, or the image, frame or level does not exist.
        CheckpointError: If the checkpoint does not belong to the network that teaches.
    """
    image = None if path.endswith('.bin') else read_image(path)
    init_default_scope(config.get('default_scope') or 'mmengine')
    _, distiller = build_distiller(config, 'LocalGraphDistiller', name)
    model = build_teacher(config, distiller, checkpoint, device)
    batch, taps = record_taps(model, distiller, path)
    pictures = graph_pictures(distiller, batch, taps, levels)
    if image is None:
        return frame_figure(model, distiller, batch, taps, pictures, top)
    return draw_graph(image, in_image(pictures.values(), batch), top)


def build_teacher(config: Config, distiller: LocalGraphDistiller, checkpoint: str, device: str) -> Any:
    """Return the network that teaches: the model of the teacher's own config if it has one, else that of the config.

    Raises:
        ConfigError: If the config has no model or data set to test, or the device cannot be used.
        CheckpointError: If the checkpoint does not belong to the model.
    """
    check_keys(config, 'model', 'test_dataloader')
    return build_trained(config, checkpoint, device, teacher_model(config, distiller))[0]


def predict(model: Any, path: str) -> None:
    """Run the model on an image through the config's test pipeline, or on a frame of its test set.

    Raises:
        ConfigError: If the test set has no such frame.
    """
    if not path.endswith('.bin'):
        from mmdet.apis import inference_detector

        inference_detector(model, path)
        return
    # Only the data set knows the calibration of a frame.
    data = DATASETS.build(model.cfg.test_dataloader.dataset)
    frames = [Path(data.get_data_info(index)['lidar_points']['lidar_path']).name for index in range(len(data))]
    if Path(path).name not in frames:
        raise ConfigError(
            f"image: '{path}' is not a frame of test_dataloader.dataset; {nearest(Path(path).name, frames)}"
        )
    model.test_step(pseudo_collate([data[frames.index(Path(path).name)]]))


@torch.no_grad()
def record_taps(model: nn.Module, distiller: LocalGraphDistiller, path: str) -> tuple[Batch, dict[str, Any]]:
    """Return the batch that the model gets for a file, and the outputs of the distiller's taps."""
    paths = distiller.teacher_taps()
    taps = TapSet(model, {f'{distiller.key}.{key}': module for key, module in paths.items()}, 'teacher')
    calls: list[dict[str, Any]] = []

    def keep(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        calls.append({**dict(zip(('inputs', 'data_samples'), args)), **kwargs})

    handle = model.register_forward_pre_hook(keep, with_kwargs=True)
    taps.start()
    try:
        predict(model, path)
        outputs = {key: taps.read(module) for key, module in paths.items()}
    finally:
        handle.remove()
        taps.remove()
    return Batch(calls[-1]['inputs'], calls[-1]['data_samples']), outputs


def graph_pictures(
    distiller: LocalGraphDistiller, batch: Batch, taps: Any, levels: Sequence[int] | None = None
) -> dict[int, GraphPicture]:
    """Return the graph of each level, with places in the units of the distiller.

    Raises:
        ConfigError: If a level does not exist.
    """
    graphs, places = distiller.graphs(taps, batch), distiller.places(taps, batch)
    chosen = range(len(graphs)) if levels is None else levels
    wrong = [level for level in chosen if not 0 <= level < len(graphs)]
    if wrong:
        raise ConfigError(f'--level: {wrong[0]} does not exist; valid: 0 to {len(graphs) - 1}')
    return {level: picture_of(f'level {level}', graphs[level], places[level]) for level in chosen}


def in_image(pictures: Iterable[GraphPicture], batch: Batch) -> list[GraphPicture]:
    """Return graphs with places in pixels of the image file, which the pipeline has resized."""
    assert batch.data_samples is not None
    scale = np.asarray(batch.data_samples[0].metainfo.get('scale_factor', (1.0, 1.0)), float)[:2]
    return [picture._replace(places=picture.places / scale) for picture in pictures]


def frame_figure(
    model: Any,
    distiller: LocalGraphDistiller,
    batch: Batch,
    taps: Any,
    pictures: Mapping[int, GraphPicture],
    top: int,
) -> Any:
    """Return the figure of a LiDAR frame seen from above, with places in metres."""
    cloud = batch.inputs['points'][0].cpu().numpy()
    layer = getattr(model.data_preprocessor, 'voxel_layer', None)
    area = list(layer.point_cloud_range) if layer is not None else [*cloud.min(axis=0)[:3], *cloud.max(axis=0)[:3]]
    moved = []
    for level, picture in pictures.items():
        places = picture.places
        if distiller.points == 'voxel' and layer is not None:
            places = voxel_centers(places, layer.voxel_size, area)
        elif distiller.points == 'grid':  # places are centres of cells
            rows, columns = taps[distiller.pairs[0].teacher_key][level].shape[2:]
            step = np.array([(area[3] - area[0]) / columns, (area[4] - area[1]) / rows])
            places = places * step + np.array(area[:2], float)
        moved.append(picture._replace(places=places))
    return draw_graph_bev(cloud, moved, (area[0], area[1], area[3], area[4]), top)
