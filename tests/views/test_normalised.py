"""What all views of normalised images check."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from kd_plugins.errors import ConfigError
from kd_plugins.views.normalised import NormalisedView


def test_the_normalisation_is_that_of_the_preprocessor() -> None:
    view = NormalisedView(channel_order='rgb')
    view.bind(ImgDataPreprocessor(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]))
    normalisation = view.normalisation_of(torch.zeros(1, 3, 4, 4))
    assert normalisation.mean.flatten().tolist() == [1.0, 2.0, 3.0] and not normalisation.bgr


def test_images_that_the_pipeline_has_normalised_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr('kd_plugins.views.normalised.print_log', lambda text, *others: warned.append(text))
    picture = torch.linspace(0, 255, 48).view(1, 3, 4, 4)
    padded = torch.nn.functional.pad(picture, (0, 2), value=-300.0)
    sample = SimpleNamespace(metainfo=dict(img_shape=(4, 4)))
    for inputs, samples, count in (
        (picture, None, 0),
        (padded, [sample], 0),
        (padded, None, 1),
        (picture - 128, None, 1),
    ):
        view = NormalisedView()
        view.bind(None)
        for _ in range(2):
            view.normalisation_of(inputs, samples)
        assert len(warned) == count, 'once for each view'
        warned.clear()
    view.normalisation_of(picture - 128)
    assert not warned


def test_sentences() -> None:
    with pytest.raises(ConfigError, match="student_view.channel_order is 'gbr'"):
        NormalisedView(channel_order='gbr')
    view = NormalisedView()
    with pytest.raises(ConfigError, match=r'NormalisedView was called before bind\(data_preprocessor\)'):
        view.normalisation_of(torch.zeros(1, 3, 4, 4))
    view.bind(ImgDataPreprocessor(mean=[1.0] * 3, std=[4.0] * 3))
    with pytest.raises(ConfigError, match=r'gives \(1, 3, 4, 4, 4\), and a photometric view needs images'):
        view.normalisation_of(torch.zeros(1, 3, 4, 4, 4))
    with pytest.raises(ConfigError, match='mean has 3 numbers and the images have 4 channels'):
        view.normalisation_of(torch.zeros(1, 4, 4, 4))
