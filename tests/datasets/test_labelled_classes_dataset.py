"""Names of labelled classes that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.errors import ConfigError
from tests.datasets.coco_of_animals import CLASSES, data

pytest.importorskip('mmdet')


def test_names_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="labelled holds 'cwo', which metainfo.classes does not; nearest: 'cow'"):
        data(tmp_path, labelled=['cwo'])
    with pytest.raises(ConfigError, match=r'labelled is \[\] with metainfo.classes'):
        data(tmp_path, labelled=[])
    with pytest.raises(ConfigError, match='in its order, by which labels are numbered; write them in that order'):
        data(tmp_path, labelled=['cow'], metainfo={'classes': CLASSES[::-1]})
