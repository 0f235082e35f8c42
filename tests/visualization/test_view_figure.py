"""Pictures of a student's view: which images are drawn, and their colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('mmseg')
pytest.importorskip('matplotlib')
pytest.importorskip('cv2')
import cv2
from mmengine.config import Config

from kd_plugins.errors import ConfigError
from kd_plugins.visualization.view_figure import draw_views, view_figure

GREY_ONLY = dict(type='kd_plugins.PhotometricView', preset='light', jitter_prob=0.0, grey_prob=1.0)
BLUE, RED = (200, 0, 0), (0, 0, 250)
"""In the order B, G, R, in which OpenCV writes files."""


def folder_of(path: Path, colour: tuple[int, int, int]) -> str:
    path.mkdir()
    for index in range(3):
        cv2.imwrite(str(path / f'{index}.png'), np.full((10 + index, 16, 3), colour, np.uint8))
    return str(path)


def dataset(root: str) -> dict[str, Any]:
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return dict(type='kd_plugins.ImageFolder', data_root=root, pipeline=pipeline)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    labelled, unlabelled = folder_of(tmp_path / 'labelled', BLUE), folder_of(tmp_path / 'unlabelled', RED)
    preprocessor = dict(
        type='SegDataPreProcessor', mean=[120.0, 110.0, 100.0], std=[60.0] * 3, bgr_to_rgb=True, size=(16, 24)
    )
    hook = dict(
        type='kd_plugins.DistillHook',
        student_view=GREY_ONLY,
        unlabelled=dict(dataloader=dict(batch_size=2, dataset=dataset(unlabelled))),
    )
    return Config(
        dict(
            default_scope='mmseg',
            model=dict(type='EncoderDecoder', data_preprocessor=preprocessor),
            train_dataloader=dict(batch_size=2, num_workers=2, dataset=dataset(labelled)),
            default_hooks=dict(distill=hook),
        )
    )


def drawn(figure: Any) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def assert_colour(picture: np.ndarray, rgb: tuple[float, ...]) -> None:
    np.testing.assert_allclose(picture, np.broadcast_to(rgb, picture.shape), atol=1e-4)


def test_unlabelled_images_and_their_grey_view(config: Config) -> None:
    figure = view_figure(config, count=3)
    assert [axes.get_title() for axes in figure.axes] == ['unlabelled, teacher'] * 3 + ['unlabelled, student'] * 3
    pictures = drawn(figure)
    for picture in pictures[:3]:
        assert_colour(picture, (250 / 255, 0, 0))
    for picture in pictures[3:]:
        assert_colour(picture, (0.299 * 250 / 255,) * 3)
    assert sorted(picture.shape for picture in pictures[:3]) == [(10, 16, 3), (11, 16, 3), (12, 16, 3)]  # no padding


def test_labelled_images_where_the_view_changes_them(config: Config) -> None:
    config.default_hooks.distill.student_view.on = ['labelled']
    assert_colour(drawn(view_figure(config, count=1))[0], (0, 0, 200 / 255))
    config.default_hooks.distill.student_view.on = ['unlabelled']  # training images stand for those that lack
    config.default_hooks.distill.unlabelled = None
    assert_colour(drawn(view_figure(config, count=1))[0], (0, 0, 200 / 255))


def test_one_view_for_each_kind_of_images(config: Config) -> None:
    plain = {**GREY_ONLY, 'grey_prob': 0.0}
    config.default_hooks.distill.student_view = dict(labelled=plain, unlabelled=GREY_ONLY)
    figure = view_figure(config, count=1)
    titles = ['labelled, teacher', 'labelled, student', 'unlabelled, teacher', 'unlabelled, student']
    assert [axes.get_title() for axes in figure.axes] == titles
    colours = [(0, 0, 200 / 255), (0, 0, 200 / 255), (250 / 255, 0, 0), (0.299 * 250 / 255,) * 3]
    for picture, colour in zip(drawn(figure), colours):
        assert_colour(picture, colour)


def test_mixed_images_and_their_targets(config: Config) -> None:
    config.default_hooks.distill.student_view = dict(
        type='kd_plugins.CutMix', view=GREY_ONLY, prob=1.0, area=(0.2, 0.3)
    )
    for index in range(3):  # each image has a colour of its own
        folder = config.default_hooks.distill.unlabelled.dataloader.dataset.data_root
        cv2.imwrite(f'{folder}/{index}.png', np.full((10 + index, 16, 3), (0, 0, 40 + 90 * index), np.uint8))
    figure = view_figure(config, count=3)
    titles = [f'unlabelled, {name}' for name in ('teacher', 'student', 'target') for _ in range(3)]
    assert [axes.get_title() for axes in figure.axes] == titles
    teacher, student, target = np.array_split(np.array(drawn(figure), dtype=object), 3)
    for clean, seen, mixed in zip(teacher, student, target):
        colours = np.unique(mixed[..., 0].astype(float).round(3))
        assert len(colours) == 2 and len(np.unique(clean[..., 0].astype(float).round(3))) == 1
        np.testing.assert_allclose(seen[..., 0].astype(float), 0.299 * mixed[..., 0].astype(float), atol=1e-4)


def test_seed_decides(config: Config) -> None:
    config.default_hooks.distill.student_view = dict(type='kd_plugins.PhotometricView', jitter_prob=1.0)
    first, again, other = (drawn(view_figure(config, count=2, seed=seed)) for seed in (0, 0, 1))
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


@pytest.mark.parametrize(
    'change, message',
    [
        (
            {'default_hooks.distill.student_view': None},
            r'^default_hooks\.distill has no student_view; give a config that',
        ),
        (
            {'default_hooks.distill.student_view.preset': 'lite'},
            r"^student_view\.preset is 'lite'; nearest: 'light'",
        ),
        (
            {'default_hooks.distill.student_view.on': ['labelled'], 'train_dataloader': None},
            "has no 'train_dataloader'",
        ),
        (
            {'default_hooks.distill.unlabelled.dataloader.dataset': 3},
            r'^default_hooks\.distill\.unlabelled\.dataloader\.dataset is 3; give dict\(type=',
        ),
    ],
)
def test_refusals(config: Config, change: dict[str, Any], message: str) -> None:
    config.merge_from_dict(change)
    with pytest.raises(ConfigError, match=message):
        view_figure(config)


def test_channels_that_are_no_picture() -> None:
    assert len(draw_views(dict(teacher=[np.zeros((4, 5, 1))], student=[np.ones((4, 5, 1))])).axes) == 2
    with pytest.raises(ConfigError, match='the images have 2 channels; show views draws images of 1 or 3'):
        draw_views(dict(teacher=[np.zeros((4, 5, 2))]))
