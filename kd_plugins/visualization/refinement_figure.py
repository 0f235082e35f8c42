"""Figure of the boxes and edge distributions of all decoder layers of a detector with FDR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray

from ..errors import ConfigError
from ..utils.head_types import FDR_OF
from .loading import build_trained, check_keys
from .pictures import read_image
from .refinement import best_queries, draw_refinement, pixel_corners, record_refinement


def build_detector(config: Config, checkpoint: str, device: str) -> tuple[Any, dict[str, Any]]:
    """Return a detector with FDR that holds the weights of a checkpoint, and the checkpoint's ``meta``.

    Raises:
        ConfigError: If the config has no model or data set to test, the detector has no FDR, or the device cannot be
            used.
        CheckpointError: If the checkpoint does not belong to the model.
    """
    from ..models.dfine import FDRHead

    def check(model: Any) -> None:
        head = getattr(model, 'bbox_head', None)
        if not isinstance(head, FDRHead):
            close = FDR_OF.get(type(head).__name__, 'FDRDINO')
            raise ConfigError(
                f"model.type: '{config.model.type}' has no edge distributions of FDR to show; "
                f"nearest: 'kd_plugins.{close}'"
            )

    check_keys(config, 'model', 'test_dataloader')
    return build_trained(config, checkpoint, device, check=check)


def choose_queries(scores: NDArray[Any], top: int, score_thr: float, queries: Sequence[int] | None) -> NDArray[Any]:
    """Return the queries to draw.

    Args:
        scores: Probabilities, (Q, C).
        top: Number of the best detections.
        score_thr: Lowest score of a detection.
        queries: Indices of queries that replace the best detections.

    Raises:
        ConfigError: If a query does not exist, or no detection reaches the score.
    """
    if queries is not None:
        wrong = [number for number in queries if not 0 <= number < len(scores)]
        if wrong:
            raise ConfigError(f'--query: {wrong[0]} does not exist; valid: 0 to {len(scores) - 1}')
        return np.array(queries)
    chosen = best_queries(scores, top, score_thr)
    if len(chosen) == 0:
        raise ConfigError(f'--score-thr: no detection reaches {score_thr:g}; the highest score is {scores.max():.3f}')
    return chosen


@torch.no_grad()
def refinement_figure(
    model: Any,
    meta: dict[str, Any],
    path: str,
    top: int = 3,
    score_thr: float = 0.3,
    queries: Sequence[int] | None = None,
) -> Any:
    """Return the figure of one image.

    Args:
        model: Detector from :func:`build_detector`.
        meta: ``meta`` of its checkpoint.
        path: The image file.
        top: Number of the best detections.
        score_thr: Lowest score of a detection.
        queries: Indices of queries that replace the best detections.

    Raises:
        ConfigError: If the image cannot be read, or there is no such query or detection.
    """
    from mmdet.apis import inference_detector

    image = read_image(path)
    with record_refinement(model.decoder) as passes:
        sample = inference_detector(model, path)
    states, refinement = passes[-1]
    last = len(states) - 1
    logits = model.bbox_head.layer_scores(last, states[last], refinement.logits[last])
    scores = logits[0].sigmoid().cpu().numpy()
    chosen = choose_queries(scores, top, score_thr, queries)

    names = (meta.get('dataset_meta') or {}).get('classes') or [f'class {number}' for number in range(scores.shape[1])]
    best = scores[chosen].argmax(axis=-1)
    captions = [f'query {query}, {names[label]} {scores[query, label]:.2f}' for query, label in zip(chosen, best)]
    in_pixels = dict(img_shape=sample.img_shape, scale_factor=sample.get('scale_factor', (1.0, 1.0)))
    return draw_refinement(
        image,
        pixel_corners(refinement.initial[0].cpu().numpy()[chosen], **in_pixels),
        pixel_corners(refinement.boxes[:, 0].cpu().numpy()[:, chosen], **in_pixels),
        refinement.logits[:, 0].cpu().numpy()[:, chosen],
        model.bbox_head.fdr.bins.cpu().numpy(),
        model.bbox_head.fdr.reg_scale,
        captions,
    )
