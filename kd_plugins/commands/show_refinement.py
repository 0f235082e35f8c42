"""Show how FDR refines the boxes of an image: ``kd_plugins show refinement CONFIG CHECKPOINT IMAGE``.

For the best detections it draws the box of every decoder layer and the four edge distributions behind it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from numpy.typing import NDArray
from torch import nn

from ..config.loading import load_config
from ..errors import ConfigError
from ..runner.weights import load_trained
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..utils.head_types import FDR_OF
from ..visualization import best_queries, draw_refinement, pixel_corners, record_refinement
from ..visualization.pictures import FORMATS, check_picture_name, read_image, save_picture


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(
        prog='kd_plugins show refinement', description='Draw the boxes and edge distributions of all decoder layers'
    )
    found.add_argument('config', help='config file of a detector with FDR, or package::path')
    found.add_argument('checkpoint', help='checkpoint file, or a URL')
    found.add_argument('image', help='image file')
    found.add_argument('--out', default='refinement.png', help=f'picture to write; ends in {", ".join(FORMATS)}')
    found.add_argument('--top', type=int, default=3, help='how many of the best detections')
    found.add_argument('--query', type=int, nargs='+', help='these queries in place of the best detections')
    found.add_argument('--score-thr', type=float, default=0.3, help='lowest score of a detection')
    found.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1, ...')
    add_cfg_options(found)
    return found


def check_arguments(args: Namespace) -> None:
    """Refuse what could not be drawn or written, before the model is built.

    Raises:
        ConfigError: Naming the argument.
    """
    check_picture_name(args.out)
    if args.top < 1:
        raise ConfigError(f'--top: {args.top} detections cannot be drawn; nearest: 1')


def build_detector(config: Config, checkpoint: str, device: str) -> tuple[nn.Module, dict[str, Any]]:
    """Return a detector with FDR that holds the weights of a checkpoint, and the checkpoint's ``meta``.

    Raises:
        ConfigError: If the config has no model or dataset to test, the detector has no FDR, or the device cannot be
            used.
        CheckpointError: If the checkpoint does not belong to the model.
    """
    from kd_plugins.models.dfine import FDRHead

    missing = [key for key in ('model', 'test_dataloader') if config.get(key) is None]
    if missing:
        raise ConfigError(f"config: '{config.filename}' has no '{missing[0]}'; inherit one that has")
    model = MODELS.build(config.model)
    if not isinstance(getattr(model, 'bbox_head', None), FDRHead):
        close = FDR_OF.get(type(getattr(model, 'bbox_head', None)).__name__, 'FDRDINO')
        raise ConfigError(
            f"model.type: '{config.model.type}' has no edge distributions of FDR to show; nearest: 'kd_plugins.{close}'"
        )
    meta = load_trained(model, checkpoint, device)
    model.cfg = config
    return model, meta


def choose(scores: NDArray[Any], args: Namespace) -> NDArray[Any]:
    """Return the queries to draw.

    Args:
        scores: Probabilities, (Q, C).
        args: Of the command line.

    Raises:
        ConfigError: If there is none.
    """
    if args.query is not None:
        wrong = [number for number in args.query if not 0 <= number < len(scores)]
        if wrong:
            raise ConfigError(f'--query: {wrong[0]} does not exist; valid: 0 to {len(scores) - 1}')
        return np.array(args.query)
    chosen = best_queries(scores, args.top, args.score_thr)
    if len(chosen) == 0:
        raise ConfigError(
            f'--score-thr: no detection reaches {args.score_thr:g}; the highest score is {scores.max():.3f}'
        )
    return chosen


@torch.no_grad()
def picture(model: Any, meta: dict[str, Any], image: NDArray[Any], args: Namespace) -> Any:
    """Return the figure of one image."""
    from mmdet.apis import inference_detector

    with record_refinement(model.decoder) as passes:
        sample = inference_detector(model, args.image)
    states, refinement = passes[-1]
    last = len(states) - 1
    logits = model.bbox_head.layer_scores(last, states[last], refinement.logits[last])
    scores = logits[0].sigmoid().cpu().numpy()
    queries = choose(scores, args)

    names = (meta.get('dataset_meta') or {}).get('classes') or [f'class {number}' for number in range(scores.shape[1])]
    best = scores[queries].argmax(axis=-1)
    captions = [f'query {query}, {names[label]} {scores[query, label]:.2f}' for query, label in zip(queries, best)]
    in_pixels = dict(img_shape=sample.img_shape, scale_factor=sample.get('scale_factor', (1.0, 1.0)))
    return draw_refinement(
        image,
        pixel_corners(refinement.initial[0].cpu().numpy()[queries], **in_pixels),
        pixel_corners(refinement.boxes[:, 0].cpu().numpy()[:, queries], **in_pixels),
        refinement.logits[:, 0].cpu().numpy()[:, queries],
        model.bbox_head.fdr.bins.cpu().numpy(),
        model.bbox_head.fdr.reg_scale,
        captions,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        check_arguments(args)
        config = load_config(args.config, args.cfg_options)
        image = read_image(args.image)
        init_default_scope(config.get('default_scope') or 'mmengine')
        model, meta = build_detector(config, args.checkpoint, args.device)
        figure = picture(model, meta, image, args)
        save_picture(figure, args.out)
        print(args.out)
    return 0
