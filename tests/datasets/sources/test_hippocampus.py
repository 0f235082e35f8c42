"""Hippocampus: the volumes and the config that reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kd_plugins.datasets.sources import SOURCES, SourceError, fetch
from kd_plugins.datasets.sources.hippocampus import NUMBERS
from tests.datasets.sources.configured import dataset_of, fetch_tiny
from tests.datasets.sources.tiny_archives import DATA, hippocampus_files, tar_of, tiny_source

REAL = DATA / 'hippocampus'


def test_two_hundred_volumes_once_each() -> None:
    assert len(NUMBERS) == len(set(NUMBERS)) == 200 and list(NUMBERS) == sorted(NUMBERS)


def test_the_config_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('monai')
    fetch_tiny('hippocampus', tmp_path, monkeypatch)
    dataset = dataset_of('hippocampus', 'test', split=None)
    assert [Path(dataset.get_data_info(index)['img_path']).name[:15] for index in range(2)] == [
        'hippocampus_001',
        'hippocampus_003',
    ]
    assert dataset[0]['inputs'].shape == (1, 4, 4, 4)


def test_a_missing_volume_is_named(tmp_path: Path) -> None:
    source, _ = tiny_source('hippocampus')
    (tmp_path / 'a.tar').write_bytes(tar_of(hippocampus_files((1,))))
    with pytest.raises(SourceError, match="the archive has no 'imagesTr/hippocampus_003.nii.gz'"):
        fetch(source, tmp_path / 'hippocampus', archive=tmp_path / 'a.tar')


@pytest.mark.skipif(not REAL.is_dir(), reason='the real data are not in ../shared/data')
def test_the_real_files_have_the_hash(tmp_path: Path) -> None:
    root = 'Task04_Hippocampus/'
    files = {f'{root}{path.parent.name}Tr/{path.name}': path.read_bytes() for path in REAL.rglob('*.nii.gz')}
    files[f'{root}imagesTr/hippocampus_007.nii.gz'] = b'one of the sixty that are left out'
    (tmp_path / 'a.tar').write_bytes(tar_of({f'{root}dataset.json': b'{}', **files}))
    source = replace(SOURCES['hippocampus'], md5=None, strict=True)  # the hash of the archive is that of the whole one
    assert fetch(source, tmp_path / 'hippocampus', archive=tmp_path / 'a.tar').files == 400
