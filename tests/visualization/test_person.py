"""Figure of a person: what is drawn is what MMPose predicts, on test data and on a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('mmpose')
pytest.importorskip('matplotlib')
import cv2

from kd_plugins.config.loading import load_config
from kd_plugins.visualization.loading import build_trained
from kd_plugins.visualization.person import person_figure, read_person


def small(folder: Path, name: str) -> tuple[Any, str]:
    return load_config(str(folder / 'small.py')), str(folder / f'{name}.pth')


def test_what_is_drawn_is_what_mmpose_predicts(people: Path) -> None:
    """MMPose's own inference on the image, its joints moved into the crop by MMPose's own matrix."""
    from mmpose.apis import inference_topdown
    from mmpose.apis.inference import dataset_meta_from_config
    from mmpose.structures.bbox import get_warp_matrix

    person = read_person(small(people, 'student')[0], index=1)
    figure = person_figure(person, small(people, 'student'), small(people, 'teacher'), ['neck', '5'])
    for axes, name in zip(figure.axes[1:3], ('teacher', 'student')):
        config, checkpoint = small(people, name)
        model, _ = build_trained(config, checkpoint, 'cpu')
        model.dataset_meta = dataset_meta_from_config(config, 'test')
        model.test_cfg.flip_test = False
        image = str(people / 'images' / '2.png')
        (actual,) = inference_topdown(model, image, np.array([[20, 15, 90, 90]], np.float32))
        matrix = get_warp_matrix(actual.metainfo['input_center'], actual.metainfo['input_scale'], 0.0, (160, 192))
        wanted = cv2.transform(actual.pred_instances.keypoints.astype(np.float64), matrix)[0]
        np.testing.assert_allclose(np.asarray(axes.collections[0].get_offsets()), wanted, atol=0.05)
        assert axes.get_title().startswith(f'{name}, ')
    titles = [axes.get_title(loc='left') for axes in figure.axes[3:]]
    assert titles == ['12 neck, x', '12 neck, y', '5 left_ankle, x', '5 left_ankle, y']
    truth = figure.axes[0].collections[0].get_offsets()
    assert np.ma.getmaskarray(truth)[5].all() or np.isnan(np.asarray(truth)[5]).all()
    assert len(figure.axes[3].lines) == 3 and len(figure.axes[5].lines) == 2  # a truth, none


def test_an_image_of_ones_own(people: Path) -> None:
    config, checkpoint = small(people, 'student')
    image = str(people / 'images' / '2.png')
    boxed = person_figure(read_person(config, image=image, bbox=[20, 15, 90, 90]), (config, checkpoint), top=2)
    assert boxed.axes[0].get_title() == 'student' and len(boxed.axes) == 1 + 2 * 2
    # The same crop as that of the annotated person.
    sample, _ = read_person(config, index=1)
    crop = sample['inputs'].numpy()[::-1].transpose(1, 2, 0)
    np.testing.assert_array_equal(boxed.axes[0].images[0].get_array(), crop)
    whole = person_figure(read_person(config, image=image), (config, checkpoint), top=2)
    assert not np.array_equal(whole.axes[0].images[0].get_array(), crop)


def test_annotated_boxes_in_place_of_detected_ones(people: Path) -> None:
    config = load_config(str(people / 'small.py'), {'test_dataloader.dataset.bbox_file': 'detections.json'})
    sample, _ = read_person(config)
    np.testing.assert_array_equal(sample['data_samples'].gt_instances.bboxes, [[10, 15, 80, 90]])


def test_heatmaps_are_drawn_as_images(people: Path) -> None:
    estimator = load_config(str(people / 'heatmap.py')), str(people / 'heatmap.pth')
    figure = person_figure(read_person(estimator[0]), estimator, estimator, ['0', '3', '4'])
    assert len(figure.axes) == 3 + 2 * 3
    assert all(axes.images[0].get_array().shape == (32, 24) for axes in figure.axes[3:])
    assert figure.axes[3].get_title() == '0 right_ankle\nKL 0'  # taught by itself
