"""Figure of a local graph: points lie where the network saw them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('matplotlib')

from kd_plugins.config.distillers import build_distiller
from kd_plugins.config.loading import load_config
from kd_plugins.visualization import draw_graph
from kd_plugins.visualization.graph_figure import build_teacher, graph_pictures, in_image, record_taps
from kd_plugins.visualization.pictures import read_image
from tests.visualization.trained import CONFIGS

SELF = CONFIGS / 'local_graph' / 'gfl_r18_bccd_ema-local.py'


def test_points_lie_where_the_network_saw_them(detectors: dict[str, Path]) -> None:
    config = load_config(str(SELF))
    distiller = build_distiller(config, 'LocalGraphDistiller', None)[1]
    model = build_teacher(config, distiller, str(detectors['gfl_r18_bccd']), 'cpu')
    assert not model.training
    batch, taps = record_taps(model, distiller, str(detectors['image']))
    assert not model._forward_pre_hooks
    pictures = graph_pictures(distiller, batch, taps)
    figure = draw_graph(read_image(str(detectors['image'])), in_image(pictures.values(), batch), 6)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 2 * 5 and panels[0].images[0].get_array().shape == (300, 410, 3)
    # At the finest level, the highest channels of the pyramid's map; 410 x 300 pixels became 320 x 234, padded to 256.
    (dots,) = panels[0].collections
    level = taps[distiller.pairs[0].teacher_key][0][0]
    assert level.shape == (64, 32, 40)
    highest = level.amax(dim=0)[:30].flatten().topk(256).indices
    scale = np.array(batch.data_samples[0].scale_factor)
    wanted = np.stack([highest % 40 * 8 + 4, highest // 40 * 8 + 4], axis=1) / scale
    np.testing.assert_allclose(sorted(dots.get_offsets().tolist()), sorted(wanted.tolist()), rtol=1e-4)
    assert dots.get_offsets().max(axis=0)[1] < 300 + 8
