"""``kd_plugins data hippocampus-slices``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('nibabel')
pytest.importorskip('monai')
from kd_plugins.commands import make_hippocampus_slices
from kd_plugins.datasets import hippocampus_slices
from tests.volumes import make_pair


def test_three_splits_twice(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {'train': 1, 'val': 1, 'test': 1}
    monkeypatch.setattr(hippocampus_slices, 'SIZES', sizes)
    monkeypatch.setattr(make_hippocampus_slices, 'SIZES', sizes)
    for name in ('a.nii.gz', 'b.nii.gz', 'c.nii.gz'):
        make_pair(tmp_path / 'volumes', name)
    options = (tmp_path / 'out', '--volumes', tmp_path / 'volumes')
    first = run(make_hippocampus_slices, *options)
    assert first.status == 0 and first.out.count('slices in') == 3, first.err
    assert run(make_hippocampus_slices, *options).out.count('already there') == 3


def test_no_volumes_are_one_sentence(run: Any, tmp_path: Path) -> None:
    outcome = run(make_hippocampus_slices, tmp_path / 'out', '--volumes', tmp_path)
    assert outcome.status == 2 and 'holds no volumes' in outcome.error
