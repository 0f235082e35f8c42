"""Drawing of a refinement: boxes and distributions follow the arrays and the model."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import nn

from kd_plugins.ops.edge_bins import expected_offsets, weighting_function
from kd_plugins.visualization import best_queries, draw_refinement, pixel_corners, record_refinement

LAYERS, QUERIES, REG_MAX, REG_SCALE = 3, 2, 8, 4.0
pytest.importorskip('matplotlib')
EDGES = ('left', 'top', 'right', 'bottom')


class Arrays(NamedTuple):
    image: NDArray[Any]
    initial: NDArray[Any]
    boxes: NDArray[Any]
    logits: NDArray[Any]


@pytest.fixture(scope='module')
def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    low = rng.uniform(5, 40, (LAYERS + 1, QUERIES, 2))
    boxes = np.concatenate([low, low + rng.uniform(10, 40, low.shape)], axis=-1)
    logits = rng.normal(size=(LAYERS, QUERIES, 4, REG_MAX + 1)) * 2
    image = rng.integers(0, 255, (60, 100, 3)).astype(np.uint8)
    return Arrays(image, boxes[0], boxes[1:], logits)


@pytest.fixture(scope='module')
def figure(arrays: Arrays) -> Any:
    bins = weighting_function(REG_MAX, reg_scale=REG_SCALE).numpy()
    return draw_refinement(*arrays, bins, REG_SCALE, ['query 4, cell 0.90', 'query 7, cell 0.50'])


def drawn(axes: Any) -> NDArray[Any]:
    """Return (x1, y1, x2, y2) of all boxes in axes."""
    from matplotlib.patches import Rectangle

    actual = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return np.array(
        [[*patch.get_xy(), *np.add(patch.get_xy(), [patch.get_width(), patch.get_height()])] for patch in actual]
    )


def rows(figure: Any) -> list[list[Any]]:
    """Return for every query its close-up and its four distributions."""
    return [figure.axes[1 + 5 * row : 6 + 5 * row] for row in range(QUERIES)]


def test_one_image_and_five_axes_per_query(figure: Any) -> None:
    assert len(figure.axes) == 1 + 5 * QUERIES
    closeups = [row[0].get_title() for row in rows(figure)]
    assert closeups == ['1: query 4, cell 0.90', '2: query 7, cell 0.50']
    assert [axes.get_title() for axes in rows(figure)[0][1:]] == list(EDGES)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ['initial', 'layer 1', 'layer 2', 'layer 3']


def test_boxes_lie_in_the_image_where_the_arrays_say(figure: Any, arrays: Arrays) -> None:
    np.testing.assert_allclose(drawn(figure.axes[0]), arrays.boxes[-1])
    for number, (closeup, *_) in enumerate(rows(figure)):
        wanted = np.concatenate([arrays.initial[number][None], arrays.boxes[:, number]])
        np.testing.assert_allclose(drawn(closeup), wanted)
        dashed = [patch.get_linestyle() == '--' for patch in closeup.patches]
        assert dashed == [True, False, False, False]
        # All of them are in sight, y points down, and a pixel has the image's colour.
        (left, right), (bottom, top) = closeup.get_xlim(), closeup.get_ylim()
        assert left < wanted[:, 0].min() and right > wanted[:, 2].max()
        assert top < wanted[:, 1].min() and bottom > wanted[:, 3].max()
        np.testing.assert_array_equal(closeup.images[0].get_array(), arrays.image)


def test_curves_are_the_softmax_over_offsets_in_box_sizes(figure: Any, arrays: Arrays) -> None:
    bins = weighting_function(REG_MAX, reg_scale=REG_SCALE)
    logits = torch.from_numpy(arrays.logits)
    wanted = logits.softmax(dim=-1).numpy()
    means = (expected_offsets(logits, bins) / REG_SCALE).numpy()
    for row, (_, *edges) in enumerate(rows(figure)):
        for edge, axes in enumerate(edges):
            curves = [line for line in axes.lines if line.get_linestyle() == '-']
            marks = [line for line in axes.lines if line.get_linestyle() == ':']
            assert len(curves) == len(marks) == LAYERS
            for layer, (curve, mark) in enumerate(zip(curves, marks)):
                np.testing.assert_allclose(curve.get_xdata(), (bins / REG_SCALE).numpy())
                np.testing.assert_allclose(curve.get_ydata(), wanted[layer, row, edge], rtol=1e-6)
                np.testing.assert_allclose(mark.get_xdata(), means[layer, row, edge], atol=1e-6)
                assert curve.get_color() == mark.get_color() == rows(figure)[0][0].patches[1 + layer].get_edgecolor()
            assert axes.get_ylim()[1] > wanted[:, row].max()  # no curve leaves the axes


def test_outermost_bins_are_one_box_size_away(figure: Any) -> None:
    axes = rows(figure)[0][1]
    assert axes.lines[0].get_xdata()[[0, -1]].tolist() == [-1.0, 1.0]


def test_crossed_edges_and_huge_logits_are_drawn(tmp_path: Any, arrays: Arrays) -> None:
    boxes, logits = arrays.boxes.copy(), arrays.logits.copy()
    boxes[1, 0] = [50, 50, 20, 20]
    logits[0, 0, 0, 0] = 1e4
    bins = weighting_function(REG_MAX).numpy()
    drawing = draw_refinement(arrays.image, arrays.initial, boxes, logits, bins, REG_SCALE, ['a', 'b'])
    assert np.isfinite(rows(drawing)[0][1].lines[0].get_ydata()).all()
    drawing.savefig(tmp_path / 'figure.png')
    assert (tmp_path / 'figure.png').stat().st_size > 0


def test_best_queries_are_sorted_and_above_the_threshold() -> None:
    scores = np.array([[0.2, 0.1], [0.1, 0.7], [0.5, 0.6], [0.69, 0.3]])
    assert best_queries(scores, top=3).tolist() == [1, 3, 2]
    assert best_queries(scores, top=9, threshold=0.65).tolist() == [1, 3]
    assert best_queries(scores, top=2, threshold=0.9).tolist() == []


def test_corners_are_those_of_the_models_predictions() -> None:
    """MMDetection's own rescaling, for an image whose sides shrank by different factors."""
    pytest.importorskip('mmdet')
    from mmdet.models.dense_heads import DETRHead

    boxes = torch.tensor([[0.3, 0.4, 0.2, 0.5], [0.6, 0.5, 0.1, 0.3]])
    scores = torch.tensor([[3.0], [2.0]])
    meta = dict(img_shape=(240, 321), scale_factor=(0.5, 0.375))
    head = DETRHead(1, loss_cls=dict(type='FocalLoss', use_sigmoid=True), train_cfg=None, test_cfg=dict(max_per_img=2))
    actual: InstanceData = head._predict_by_feat_single(scores, boxes, meta)
    np.testing.assert_allclose(pixel_corners(boxes.numpy(), **meta), actual.bboxes.numpy(), rtol=1e-5)


def test_the_recorder_leaves_the_module_as_it_was() -> None:
    class Decoder(nn.Module):
        def forward(self, x: int) -> tuple[int, int]:
            return x, x + 1

    decoder = Decoder()
    with record_refinement(decoder) as passes:
        assert decoder(1) == (1, 2)
        decoder(3)
    decoder(5)
    assert passes == [(1, 2), (3, 4)]
    with pytest.raises(RuntimeError), record_refinement(decoder):
        raise RuntimeError
    assert not decoder._forward_hooks
