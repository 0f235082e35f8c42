"""Size of the images of a command: from the test pipeline, from the command line, refused."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from kd_plugins.deployment.images import image_size, smooth_images
from kd_plugins.errors import ConfigError


def pipeline(*steps: dict) -> Config:
    return Config(dict(test_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=list(steps)))))


def test_size_comes_from_the_test_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    resize = dict(type='Resize', scale=(320, 240))
    assert image_size(pipeline(resize), None) == (256, 320)
    assert 'note: images of 256 x 320; the test pipeline has 240 x 320' in capsys.readouterr().err
    assert image_size(pipeline(dict(type='Resize', scale_factor=2.0)), None) == (640, 640)
    assert image_size(Config({}), None) == (640, 640) and not capsys.readouterr().err
    assert image_size(pipeline(resize), [64, 96]) == (64, 96)
    assert image_size(pipeline(dict(type='TopdownAffine', input_size=(192, 256))), None) == (256, 192)


@pytest.mark.parametrize(('size', 'near'), [([250, 320], '256 320'), ([0, 640], '32 640'), ([-32, 33], '32 32')])
def test_other_sizes_are_refused(size: list[int], near: str) -> None:
    with pytest.raises(
        ConfigError, match=rf'^--size is {size[0]} {size[1]}; expected multiples of 32, nearest: {near}$'
    ):
        image_size(Config({}), size)


def test_images_differ_by_seed_and_count() -> None:
    images = smooth_images(32, 64, count=3)
    assert images.shape == (3, 3, 32, 64) and images.std() > 0.1
    assert not images.equal(smooth_images(32, 64, seed=1, count=3))
