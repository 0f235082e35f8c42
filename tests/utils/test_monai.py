"""MONAI's classes by name, and what cannot be built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import ConfigDict

pytest.importorskip('monai')
from kd_plugins.errors import ConfigError, MissingDependencyError
from kd_plugins.utils import monai
from kd_plugins.utils.monai import build_part, monai_class

NETWORK = dict(type='BasicUNet', spatial_dims=2, in_channels=1, out_channels=2, features=(4, 4, 4, 4, 4, 4))


def test_parts_of_every_kind() -> None:
    assert type(build_part('network', NETWORK, 'model.network')).__name__ == 'BasicUNet'
    assert build_part('loss', dict(type='DiceLoss', smooth_nr=0.5), 'model.loss').smooth_nr == 0.5
    assert monai_class('inferer', 'SlidingWindowInferer', 'model.inferer').__name__ == 'SlidingWindowInferer'


def test_the_config_stays_as_it_is() -> None:
    config = ConfigDict(type='RandFlip', prob=0.3)
    build_part('transform', config, 'pipeline.0', spatial_axis=1)
    assert config == dict(type='RandFlip', prob=0.3)


@pytest.mark.parametrize(
    ('kind', 'config', 'sentence'),
    [
        ('network', dict(NETWORK, type='BasicUNt'), r"model.part.type: monai.networks.nets has no 'BasicUNt'; nearest"),
        ('network', dict(NETWORK, type=None), 'model.part.type: monai.networks.nets has no None'),
        ('network', dict(features=4), r"model.part is .* give a dict with 'type'"),
        ('network', 'BasicUNet', "model.part is 'BasicUNet'; give a dict with 'type'"),
        ('network', dict(NETWORK, width=3), "model.part: BasicUNet has no argument 'width'"),
        ('network', dict(NETWORK, features=(4, 4)), 'model.part: BasicUNet cannot be built: '),
        ('loss', dict(type='DiceLoss', include_backgrund=True), "no argument 'include_backgrund'; nearest: 'include_b"),
    ],
)
def test_sentences(kind: str, config: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        build_part(kind, config, 'model.part')
    assert '\n' not in str(caught.value)


def test_missing_monai_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'monai.losses', None)
    with pytest.raises(MissingDependencyError, match="model.loss: 'monai.losses' is not installed .extra 'volume'."):
        build_part('loss', dict(type='DiceLoss'), 'model.loss')


@pytest.mark.parametrize(
    ('statement', 'sentence'),
    [
        ('import no_such_package', r"'no_such_package' is not installed \(extra 'volume'\)"),
        ("raise ModuleNotFoundError('see the guide.')", r'broken_losses cannot be imported \(see the guide\)'),
        ('from json import no_such_name', r'broken_losses cannot be imported \(cannot import name'),
    ],
)
def test_an_import_of_monai_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, sentence: str
) -> None:
    (tmp_path / 'broken_losses.py').write_text(f"""
try:
    {statement}
except ImportError as error:  # as MONAI raises the errors of its modules again, without their names
    raise type(error)(f'{{error}}\\nError on import of monai.losses') from error
""")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(monai.MODULES, 'loss', 'broken_losses')
    with pytest.raises(MissingDependencyError, match=f'^model.loss: {sentence}'):
        build_part('loss', dict(type='DiceLoss'), 'model.loss')
