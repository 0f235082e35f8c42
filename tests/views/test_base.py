from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.views.base import BaseView, picture_sizes


def test_on_names_passes() -> None:
    assert BaseView().on == ('unlabelled',)
    assert BaseView('labelled').on == ('labelled',)
    assert BaseView(['labelled', 'unlabelled']).on == ('labelled', 'unlabelled')


@pytest.mark.parametrize(
    'on, message',
    [
        ('unlabeled', r"student_view\.on is 'unlabeled'; nearest: 'unlabelled', 'labelled'"),
        ((), r"student_view\.on is \(\); valid: 'labelled', 'unlabelled'"),
    ],
)
def test_unknown_pass(on, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BaseView(on)


def test_sizes_of_pictures() -> None:
    inputs = torch.zeros(5, 3, 32, 48)
    samples = [
        SimpleNamespace(img_shape=(20, 48)),
        SimpleNamespace(img_shape=(30, 100, 3)),  # larger than the input, with channels
        SimpleNamespace(img_shape=(10, 10), input_size=(48, 30), pad_shape=(30, 48)),  # MMPose: size of the file
        SimpleNamespace(),
    ]
    assert picture_sizes(inputs, samples).tolist() == [[20, 48], [30, 48], [30, 48], [32, 48], [32, 48]]
    assert picture_sizes(inputs, None).tolist() == [[32, 48]] * 5


def test_sizes_of_mmpose() -> None:
    """Of a top-down crop, ``img_shape`` is the size of the file."""
    structures = pytest.importorskip('mmpose.structures')
    preprocessors = pytest.importorskip('mmpose.models.data_preprocessors')
    sample = structures.PoseDataSample(metainfo=dict(img_shape=(40, 50), input_size=(48, 64)))
    data = dict(inputs=[torch.zeros(3, 64, 48, dtype=torch.uint8)], data_samples=[sample])
    data = preprocessors.PoseDataPreprocessor()(data, training=True)
    assert picture_sizes(data['inputs'], data['data_samples']).tolist() == [[64, 48]]
