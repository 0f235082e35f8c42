"""Show which points a teacher of local graphs selects: ``kd_plugins show graph CONFIG CHECKPOINT IMAGE``.

CONFIG is a config with a LocalGraphDistiller. CHECKPOINT belongs to the network that teaches: that of the teacher's
own config where it has one (FrozenTeacher), the config's model otherwise. IMAGE is an image, or a LiDAR frame
(``.bin``) of the config's test set, which is then seen from above.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from ..config.distillers import build_distiller
from ..config.loading import load_config
from ..distillers import Batch, LocalGraphDistiller
from ..errors import ConfigError, nearest
from ..runner.weights import load_trained
from ..taps import TapSet
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..visualization import GraphPicture, draw_graph, draw_graph_bev, picture_of, voxel_centers
from ..visualization.pictures import FORMATS, check_picture_name, read_image, save_picture


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(
        prog='kd_plugins show graph',
        description='Draw the points that local graph distillation selects, and their neighbours',
    )
    found.add_argument('config', help='config file with a LocalGraphDistiller, or package::path')
    found.add_argument('checkpoint', help='checkpoint file of the network that teaches, or a URL')
    found.add_argument('image', help='image file, or a LiDAR frame (.bin) of the test set')
    found.add_argument('--out', default='graph.png', help=f'picture to write; ends in {", ".join(FORMATS)}')
    found.add_argument('--distiller', help='name of the distiller in the config, where there are several')
    found.add_argument('--level', type=int, nargs='+', help='these levels alone, from 0')
    found.add_argument('--top', type=int, default=6, help="how many points' neighbours are drawn")
    found.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1, ...')
    add_cfg_options(found)
    return found


def build_teacher(config: Config, checkpoint: str, device: str) -> nn.Module:
    """Return the network that teaches, with the weights of a checkpoint.

    Raises:
        ConfigError: If the config has no model or dataset to test, or the device cannot be used.
        CheckpointError: If the checkpoint does not belong to the model.
    """
    missing = [key for key in ('model', 'test_dataloader') if config.get(key) is None]
    if missing:
        raise ConfigError(f"config: '{config.filename}' has no '{missing[0]}'; inherit one that has")
    theirs = (config.default_hooks.distill.get('teacher') or {}).get('config')
    if isinstance(theirs, str):
        theirs = load_config(theirs)
    model = MODELS.build(theirs['model'] if theirs else config.model)
    load_trained(model, checkpoint, device)
    model.cfg = config
    return model


def predict(model: Any, path: str) -> None:
    """Run the model on an image through the config's test pipeline, or on a frame of its test set.

    Raises:
        ConfigError: If the test set has no such frame.
    """
    if not path.endswith('.bin'):
        from mmdet.apis import inference_detector

        inference_detector(model, path)
        return
    # A frame needs its calibration, which only the data set knows.
    data = DATASETS.build(model.cfg.test_dataloader.dataset)
    frames = [Path(data.get_data_info(index)['lidar_points']['lidar_path']).name for index in range(len(data))]
    if Path(path).name not in frames:
        raise ConfigError(f"image: '{path}' is no frame of test_dataloader.dataset; {nearest(Path(path).name, frames)}")
    model.test_step(pseudo_collate([data[frames.index(Path(path).name)]]))


@torch.no_grad()
def look(model: nn.Module, distiller: LocalGraphDistiller, path: str) -> tuple[Batch, dict[str, Any]]:
    """Return the batch that the model gets for a file, and what its taps give."""
    taps = TapSet(model, {f'{distiller.key}.{key}': path for key, path in distiller.teacher_taps().items()}, 'teacher')
    calls: list[dict[str, Any]] = []

    def keep(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        calls.append({**dict(zip(('inputs', 'data_samples'), args)), **kwargs})

    handle = model.register_forward_pre_hook(keep, with_kwargs=True)
    taps.start()
    try:
        predict(model, path)
        found = {key: taps.read(value) for key, value in distiller.teacher_taps().items()}
    finally:
        handle.remove()
        taps.remove()
    return Batch(calls[-1]['inputs'], calls[-1]['data_samples']), found


def chosen_levels(args: Namespace, count: int) -> list[int]:
    """Return the levels to draw.

    Raises:
        ConfigError: If one does not exist.
    """
    levels = list(range(count)) if args.level is None else args.level
    wrong = [level for level in levels if not 0 <= level < count]
    if wrong:
        raise ConfigError(f'--level: {wrong[0]} does not exist; valid: 0 to {count - 1}')
    return levels


def pictures(args: Namespace, distiller: LocalGraphDistiller, batch: Batch, taps: Any) -> list[GraphPicture]:
    """Return the graphs to draw, with places as the distiller has them."""
    graphs, places = distiller.graphs(taps, batch), distiller.places(taps, batch)
    return [picture_of(f'level {level}', graphs[level], places[level]) for level in chosen_levels(args, len(graphs))]


def on_image(args: Namespace, distiller: LocalGraphDistiller, batch: Batch, taps: Any) -> Any:
    """Return the figure of an image, places in its own pixels."""
    assert batch.data_samples is not None
    scale = np.asarray(batch.data_samples[0].metainfo.get('scale_factor', (1.0, 1.0)), float)[:2]
    levels = [level._replace(places=level.places / scale) for level in pictures(args, distiller, batch, taps)]
    return draw_graph(read_image(args.image), levels, args.top)


def on_frame(args: Namespace, model: Any, distiller: LocalGraphDistiller, batch: Batch, taps: Any) -> Any:
    """Return the figure of a LiDAR frame.

    Raises:
        ConfigError: If places cannot be given in metres.
    """
    cloud = batch.inputs['points'][0].cpu().numpy()
    layer = getattr(model.data_preprocessor, 'voxel_layer', None)
    area = list(layer.point_cloud_range) if layer is not None else [*cloud.min(axis=0)[:3], *cloud.max(axis=0)[:3]]
    levels = pictures(args, distiller, batch, taps)
    if distiller.points == 'voxel' and layer is not None:
        levels = [level._replace(places=voxel_centers(level.places, layer.voxel_size, area)) for level in levels]
    elif distiller.points == 'grid':
        shapes = [taps['teacher'][level].shape for level in chosen_levels(args, len(taps['teacher']))]
        steps = [((area[3] - area[0]) / shape[3], (area[4] - area[1]) / shape[2]) for shape in shapes]
        # Places are the middle of the cells already.
        levels = [
            level._replace(places=level.places * np.array(step) + np.array(area[:2], float))
            for level, step in zip(levels, steps)
        ]
    return draw_graph_bev(cloud, levels, (area[0], area[1], area[3], area[4]), args.top)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        check_picture_name(args.out)
        if args.top < 1:
            raise ConfigError(f'--top: the neighbours of {args.top} points cannot be drawn; nearest: 1')
        config = load_config(args.config, args.cfg_options)
        frame = args.image.endswith('.bin')
        if not frame:
            read_image(args.image)
        init_default_scope(config.get('default_scope') or 'mmengine')
        _, distiller = build_distiller(config, 'LocalGraphDistiller', args.distiller)
        model = build_teacher(config, args.checkpoint, args.device)
        batch, taps = look(model, distiller, args.image)
        figure = on_frame(args, model, distiller, batch, taps) if frame else on_image(args, distiller, batch, taps)
        save_picture(figure, args.out)
        print(args.out)
    return 0
