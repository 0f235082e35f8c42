"""ISBI 2012: the slices and the config that reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.datasets.sources import SOURCES, SourceError, fetch
from tests.datasets.sources.configured import dataset_of, fetch_tiny
from tests.datasets.sources.tiny_archives import DATA, isbi_files, tiny_source, zip_of

REAL = DATA / 'isbi_membrane'


def test_the_config_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('mmseg')
    fetch_tiny('isbi', tmp_path, monkeypatch)
    assert len(dataset_of('isbi', 'train')) == 24
    sample = dataset_of('isbi', 'val')[0]
    assert sample['inputs'].shape == (3, 8, 8)
    assert set(sample['data_samples'].gt_sem_seg.data.unique().tolist()) <= {0, 1}


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    source, _ = tiny_source('isbi')
    files = {name: content for name, content in isbi_files().items() if not name.endswith('label/17.png')}
    (tmp_path / 'a.zip').write_bytes(zip_of(files))
    with pytest.raises(SourceError, match="the archive has no 'label/17.png'"):
        fetch(source, tmp_path / 'isbi', archive=tmp_path / 'a.zip')


@pytest.mark.skipif(not REAL.is_dir(), reason='the real data are not in ../shared/data')
def test_the_real_files_pass_the_hash(tmp_path: Path) -> None:
    files = {f'top/data/membrane/{path.relative_to(REAL)}': path.read_bytes() for path in REAL.rglob('*.png')}
    (tmp_path / 'a.zip').write_bytes(zip_of({**files, 'top/LICENSE': (REAL / 'LICENSE').read_bytes()}))
    made = fetch(SOURCES['isbi'], tmp_path / 'isbi', archive=tmp_path / 'a.zip')
    assert made.contents == SOURCES['isbi'].contents
