"""Figure of the refinement of boxes: it shows the detections of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('matplotlib')

from kd_plugins.config.loading import load_config
from kd_plugins.visualization import record_refinement
from kd_plugins.visualization.refinement_figure import build_detector, refinement_figure
from tests.visualization.trained import FDR_CONFIG, SMALL_FDR


def test_the_boxes_are_the_models_detections(fdr_files: tuple[Path, Path]) -> None:
    from mmdet.apis import inference_detector

    checkpoint, image = map(str, fdr_files)
    model, meta = build_detector(load_config(str(FDR_CONFIG), SMALL_FDR), checkpoint, 'cpu')
    figure = refinement_figure(model, meta, image, top=3, score_thr=0)
    actual = inference_detector(model, image).pred_instances
    # A query can be detected as several classes; the first of them has its highest score.
    boxes = dict.fromkeys(tuple(box) for box in actual.bboxes.round(decimals=3).tolist())
    for patch, box in zip(figure.axes[0].patches, list(boxes)[:3], strict=True):
        corners = np.array([*patch.get_xy(), *np.add(patch.get_xy(), [patch.get_width(), patch.get_height()])])
        inside = corners.clip(0, [410, 300, 410, 300])
        np.testing.assert_allclose(inside, box, atol=0.02)
    label = ('red', 'white', 'platelet')[int(actual.labels[0])]
    assert figure.axes[1].get_title().endswith(f', {label} {float(actual.scores[0]):.2f}')
    assert figure.axes[0].images[0].get_array().shape == (300, 410, 3)
    # The layers disagree, so that the picture shows something.
    layers = np.array([patch.get_xy() for patch in figure.axes[1].patches])
    assert np.ptp(layers, axis=0).max() > 0


def test_named_queries_are_shown(fdr_files: tuple[Path, Path]) -> None:
    checkpoint, image = map(str, fdr_files)
    model, _ = build_detector(load_config(str(FDR_CONFIG), SMALL_FDR), checkpoint, 'cpu')
    figure = refinement_figure(model, {}, image, queries=[7, 2])
    titles = [figure.axes[number].get_title() for number in (1, 6)]
    assert titles[0].startswith('1: query 7, class ') and titles[1].startswith('2: query 2, class ')
    with record_refinement(model.decoder) as passes:
        refinement_figure(model, {}, image, queries=[7, 2])
    wanted = passes[0][1].logits[0, 0, 7, 0].softmax(dim=-1).numpy()
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), wanted, rtol=1e-5)
