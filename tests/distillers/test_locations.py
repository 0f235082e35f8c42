from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from kd_plugins.distillers import Batch
from kd_plugins.distillers.locations import (
    cells,
    counted_locations,
    grid_on_images,
    ground_truth_boxes,
    ground_truth_labels,
    image_labels,
    image_sizes,
    input_size,
    inside_images,
    level_grids,
    location_rows,
    pixel_labels,
    positions_on_images,
    smallest_box_label,
)
from tests.distillers.common import make_batch, sentence


def test_cells_are_the_locations_of_mmdet_anchors() -> None:
    generators = pytest.importorskip('mmdet.models.task_modules.prior_generators')
    generator = generators.AnchorGenerator(strides=[8, 16], ratios=[1.0], scales=[4])
    levels = [torch.zeros(2, 3, 8, 12), torch.zeros(2, 3, 4, 6)]
    batch = Batch(torch.zeros(2, 3, 64, 96), None)
    anchors = torch.cat(generator.grid_priors([level.shape[-2:] for level in levels], device='cpu'))
    torch.testing.assert_close(cells(levels, batch), (anchors[:, :2] + anchors[:, 2:]) / 2)


def test_valid_cells_are_the_valid_flags_of_mmdet() -> None:
    generators = pytest.importorskip('mmdet.models.task_modules.prior_generators')
    generator = generators.AnchorGenerator(strides=[8, 16], ratios=[1.0], scales=[4])
    levels = [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4)]
    for shape in ((64, 64), (33, 40), (1, 64), (32, 17)):
        batch = make_batch([None], img_shape=shape)
        flags = generator.valid_flags([level.shape[-2:] for level in levels], shape, device='cpu')
        centers = cells(levels, batch)
        assert centers is not None and torch.equal(inside_images(batch, centers, 1)[0], torch.cat(flags))


@pytest.mark.parametrize(
    ('inputs', 'level'), [((2, 9), (2, 5)), ((2, 1, 8, 8, 8), (2, 5, 4, 4, 4)), ((2, 3, 8, 8), (2, 5))], ids=str
)
def test_outputs_without_cells(inputs: tuple[int, ...], level: tuple[int, ...]) -> None:
    assert cells([torch.zeros(level)], Batch(torch.zeros(inputs), None)) is None


def test_rows_are_the_order_of_mmdet() -> None:
    """MMDetection's heads permute (N, A * C, H, W) to (N, H, W, A * C) and reshape it to rows of C."""
    level = torch.randn(2, 6, 3, 4)
    expected = level.permute(0, 2, 3, 1).reshape(2, -1, 3)
    assert torch.equal(location_rows([level], anchors=2), expected)
    assert location_rows([torch.zeros(2, 5)]).shape == (2, 1, 5)
    assert location_rows([torch.zeros(2, 9, 5)], channel_dim=2).shape == (2, 9, 5)


def test_smallest_box() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 40.0, 40.0], [10.0, 10.0, 20.0, 20.0], [0.0, 0.0, 0.0, 0.0]]])
    labels = torch.tensor([[4, 2, 7]])
    centers = torch.tensor([[15.0, 15.0], [30.0, 30.0], [50.0, 50.0], [0.0, 0.0]])
    expected = [[2, 4, -1, -1]]
    assert smallest_box_label(centers, boxes, labels).tolist() == expected
    assert smallest_box_label(centers, boxes, labels, pairs=1).tolist() == expected
    assert smallest_box_label(centers[:0], boxes, labels).shape == (1, 0)


def test_labels_belong_to_the_boxes() -> None:
    batch = make_batch([[[0.0, 0.0, 9.0, 9.0]] * 2, [], None])
    like = torch.zeros(3)
    for index, labels in ((0, [3, 1]), (1, [])):
        batch.data_samples[index].gt_instances.labels = torch.tensor(labels, dtype=torch.long)
    assert ground_truth_labels(batch, 'key', like).tolist() == [[3, 1], [-1, -1], [-1, -1]]
    assert ground_truth_boxes(batch, like).shape == (3, 2, 4)


def test_labels_that_are_missing() -> None:
    with sentence("key.trust is 'truth' and the batch has no gt_instances"):
        ground_truth_labels(make_batch([None, None]), 'key.trust', torch.zeros(2))
    with sentence('boxes without labels'):
        ground_truth_labels(make_batch([[[0.0, 0.0, 9.0, 9.0]]]), 'key.trust', torch.zeros(1))


def test_positions_on_images() -> None:
    batch = make_batch([None, None], img_shape=(48, 32))
    batch.data_samples[1].metainfo = {'img_shape': (64, 64)}
    first, second, regions, tokens = positions_on_images(
        [torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4), torch.zeros(5, 3, 7, 7), torch.zeros(2, 9, 3)], batch
    )
    assert first is not None and second is not None and regions is None and tokens is None
    assert first.view(2, 8, 8)[0, :6, :4].all() and first.sum(dim=1).tolist() == [24, 64]
    assert second.sum(dim=1).tolist() == [6, 16]
    assert positions_on_images([torch.zeros(2, 8, 8, 3)], batch, channel_dim=-1) == [None]
    assert positions_on_images([torch.zeros(2, 3, 8, 8)], make_batch([None, None])) == [None]
    assert positions_on_images([torch.zeros(2, 3, 8, 8)], Batch([torch.zeros(4, 3)] * 2, None)) == [None]


def test_images_that_fill_their_input_whatever_file_they_were_cut_from() -> None:
    """As of MMPose, whose ``img_shape`` is that of the file."""
    batch = make_batch([None], img_shape=(20, 10))
    assert image_sizes(batch) == [(20, 10)]
    batch.data_samples[0].metainfo['input_size'] = (64, 64)
    assert image_sizes(batch) == [(64, 64)]
    assert positions_on_images([torch.zeros(1, 3, 8, 8)], batch) == [None]
    assert inside_images(batch, torch.tensor([[40.0, 40.0]]), 1).all()


def test_the_padding_of_mmpose_is_no_image() -> None:
    """As :func:`picture_sizes` has it for views, so that views and distillers see the same images."""
    batch = make_batch([None], img_shape=(500, 400))
    batch.data_samples[0].metainfo.update(input_size=(32, 64), pad_shape=(64, 32))
    (inside,) = positions_on_images([torch.zeros(1, 3, 8, 8)], batch)
    assert inside is not None and inside.view(8, 8)[:, :4].all() and inside.sum() == 32
    assert grid_on_images(batch, (8, 8), 1) == [(8, 4)]


def test_grids_of_points() -> None:
    points = SimpleNamespace(strides=[(8, 8), (16, 16)], offset=0.5)
    assert level_grids(points) == [((8.0, 8.0), (4.0, 4.0)), ((16.0, 16.0), (8.0, 8.0))]


def test_labels_of_pixels() -> None:
    labels = torch.tensor([[[0, 255, 1], [255, 3, 2]]])
    corners = torch.tensor([[0.0, 0.0], [1.5, 0.0], [1.0, 1.0], [9.0, 9.0]])
    batch = make_batch([None, None])
    batch.data_samples[1].gt_sem_seg = SimpleNamespace(data=labels)
    # A corner outside the labels has that of the last pixel.
    assert pixel_labels(batch, corners, 2).tolist() == [[-1] * 4, [0, 255, 3, 2]]
    assert pixel_labels(Batch(torch.zeros(0), None), corners, 0).shape == (0, 4)


def test_labels_of_images() -> None:
    batch = make_batch([None, None, None])
    for index, label in ((0, [4]), (2, [1, 2])):
        batch.data_samples[index].gt_label = torch.tensor(label)
    assert image_labels(batch, torch.zeros(3)).tolist() == [[4], [-1], [-1]]


def test_rows_and_columns_of_a_map_on_each_image() -> None:
    batch = make_batch([None, None], img_shape=(64, 33))
    assert input_size(batch) == (64, 64)
    assert grid_on_images(batch, (8, 8), 2) == [(8, 5), (8, 5)]
    assert grid_on_images(batch, (5, 3), 2) == [(5, 2), (5, 2)]
    assert grid_on_images(make_batch([None], img_shape=None), (8, 8), 1) == [(8, 8)]
    points = Batch({'points': []}, batch.data_samples)
    assert input_size(points) is None and grid_on_images(points, (8, 8), 2) == [(8, 8), (8, 8)]


def test_boxes_of_no_images() -> None:
    assert ground_truth_boxes(Batch(torch.zeros(0, 3, 8, 8), []), torch.zeros(0)).shape == (0, 1, 4)


def test_labels_of_another_kind_are_no_samples() -> None:
    """A plain model of MMEngine gets its labels as a tensor, which says nothing about padding or boxes."""
    batch = Batch(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))
    assert positions_on_images([torch.zeros(2, 4, 4, 4)], batch) == [None]
    assert inside_images(batch, torch.zeros(5, 2), 2).all()
    assert not ground_truth_boxes(batch, torch.zeros(2)).any()


def test_images_without_labels_have_no_ignored_pixels() -> None:
    level, like = torch.zeros(1, 5, 2, 2), torch.zeros(1, 4)
    unlabelled = make_batch([None])
    assert counted_locations([level], 1, unlabelled, like, ignore_index=-1)[1].all()
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    labels[:, :32] = -1
    labelled = Batch(unlabelled.inputs, [SimpleNamespace(metainfo={}, gt_sem_seg=SimpleNamespace(data=labels))])
    assert counted_locations([level], 1, labelled, like, ignore_index=-1)[1].tolist() == [[False, False, True, True]]


def test_maps_of_other_things_than_images_lie_nowhere() -> None:
    """Regions of a two-stage detector: the padding of the first images is not that of the first regions."""
    batch, regions = make_batch([None, None], img_shape=(32, 64)), torch.zeros(3, 5, 4, 4)
    corners, valid = counted_locations([regions], 1, batch, torch.zeros(3, 16), None)
    assert corners is None and valid.all()
    corners, valid = counted_locations([regions[:2]], 1, batch, torch.zeros(2, 16), None)
    assert corners is not None and valid.sum() == 16
