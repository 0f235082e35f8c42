from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from kd_plugins.errors import ConfigError
from kd_plugins.ops.normalisation import read_normalisation

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
RED_BGR = torch.tensor([10, 20, 250], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 5)
"""A red image as MMCV reads it."""


def preprocessors(**settings: Any) -> list[Any]:
    found: list[Any] = [ImgDataPreprocessor(**settings)]
    for package, name in [('mmdet', 'DetDataPreprocessor'), ('mmpose', 'PoseDataPreprocessor')]:
        try:
            models = __import__(f'{package}.models.data_preprocessors', fromlist=[name])
        except ImportError:
            continue
        found.append(getattr(models, name)(**settings))
    try:
        from mmseg.models import SegDataPreProcessor
    except ImportError:
        return found
    return [*found, SegDataPreProcessor(**settings, size=(4, 5))]


def normalised(preprocessor: Any, image: torch.Tensor) -> torch.Tensor:
    sample = SimpleNamespace(set_metainfo=lambda meta: None)
    if type(preprocessor).__name__ == 'SegDataPreProcessor':
        from mmseg.structures import SegDataSample

        sample = SegDataSample()
    if type(preprocessor).__name__ == 'DetDataPreprocessor':
        from mmdet.structures import DetDataSample

        sample = DetDataSample()
    return preprocessor(dict(inputs=[image], data_samples=[sample]), training=True)['inputs']


@pytest.mark.parametrize(
    'settings',
    [
        dict(mean=MEAN, std=STD, bgr_to_rgb=True),
        dict(mean=MEAN[::-1], std=[1.0, 1.0, 1.0]),
        dict(bgr_to_rgb=True),
        dict(),
    ],
)
def test_undoes_the_preprocessors_of_openmmlab(settings: dict[str, Any]) -> None:
    for preprocessor in preprocessors(**settings):
        inputs = normalised(preprocessor, RED_BGR)
        normalisation = read_normalisation(preprocessor, 'auto', 'student_view')
        rgb = RED_BGR.flip(0)[None] / 255
        torch.testing.assert_close(normalisation.undo(inputs), rgb)
        torch.testing.assert_close(normalisation.redo(rgb), inputs)


def test_grey_images() -> None:
    for preprocessor in preprocessors(mean=[128.0], std=[64.0]):
        inputs = normalised(preprocessor, RED_BGR[:1])
        normalisation = read_normalisation(preprocessor, 'auto', 'student_view')
        torch.testing.assert_close(normalisation.undo(inputs), RED_BGR[None, :1] / 255)
        torch.testing.assert_close(normalisation.redo(normalisation.undo(inputs)), inputs)


def test_channel_order_can_be_given() -> None:
    """A preprocessor does not keep whether it swapped to RGB or to BGR."""
    preprocessor = ImgDataPreprocessor(mean=MEAN[::-1], std=STD[::-1], rgb_to_bgr=True)
    assert read_normalisation(preprocessor, 'bgr', 'student_view').bgr
    assert not read_normalisation(preprocessor, 'auto', 'student_view').bgr
    assert not read_normalisation(ImgDataPreprocessor(), 'rgb', 'student_view').bgr
    assert read_normalisation(None, 'auto', 'student_view').bgr


def test_preprocessor_inside_another() -> None:
    outer = SimpleNamespace(data_preprocessor=ImgDataPreprocessor(mean=MEAN, std=STD, bgr_to_rgb=True))
    normalisation = read_normalisation(outer, 'auto', 'student_view')
    torch.testing.assert_close(normalisation.mean.flatten(), torch.tensor(MEAN))
    assert not normalisation.bgr


@pytest.mark.parametrize(
    'settings, message',
    [
        (
            dict(mean=MEAN, std=[1.0, 0.0, 1.0]),
            r'student_view: data_preprocessor\.std is \[1\.0, 0\.0, 1\.0\]; it must be numbers > 0, such as 58\.395',
        ),
        (
            dict(mean=[float('nan')], std=[1.0]),
            r'student_view: data_preprocessor\.mean is \[nan\]; it must be finite numbers',
        ),
    ],
)
def test_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_normalisation(ImgDataPreprocessor(**settings), 'auto', 'student_view')
