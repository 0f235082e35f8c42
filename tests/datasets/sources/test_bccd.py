"""BCCD: from VOC's XML to the COCO files that the config reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.datasets.sources import SOURCES, SourceError, fetch
from kd_plugins.datasets.sources.bccd import read_voc
from tests.datasets.sources.configured import dataset_of, fetch_tiny
from tests.datasets.sources.tiny_archives import DATA, read_json, voc, zip_of

REAL = DATA / 'bccd'


def test_boxes_by_hand(tmp_path: Path) -> None:
    (tmp_path / 'a.xml').write_bytes(voc({'WBC': (2, 3, 12, 9), 'Platelets': (7, 7, 7, 9)}))
    image, boxes = read_voc(tmp_path / 'a.xml', 'BloodImage_00007')
    assert image == {'file_name': 'BloodImage_00007.jpg', 'width': 32, 'height': 24}
    assert boxes == [{'category_id': 2, 'bbox': [2.0, 3.0, 10.0, 6.0], 'area': 60.0}]  # the other one has no width


@pytest.mark.parametrize('content', [b'<annotation>', b'<annotation/>', voc({'cat': (1, 1, 2, 2)})])
def test_other_xml_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / 'a.xml').write_bytes(content)
    with pytest.raises(SourceError, match=r"'a.xml' of the archive is no annotation in VOC format"):
        read_voc(tmp_path / 'a.xml', 'a')


def test_the_config_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('mmdet')
    fetch_tiny('bccd', tmp_path, monkeypatch)
    dataset = dataset_of('bccd', 'train')
    assert len(dataset) == 2 and dataset[0]['inputs'].shape[0] == 3
    assert sorted(dataset[0]['data_samples'].gt_instances.labels.tolist()) == [0, 1]  # RBC and WBC
    assert len(dataset_of('bccd', 'test')) == 2


@pytest.mark.skipif(not REAL.is_dir(), reason='the real data are not in ../shared/data')
def test_the_real_files_pass_the_hash(tmp_path: Path) -> None:
    files = {f'top/{name}': (REAL / name).read_bytes() for name in ('LICENSE', 'README.md')}
    names = {0: '', 1: 'RBC', 2: 'WBC', 3: 'Platelets'}
    for split in ('train', 'val', 'trainval', 'test'):
        content = read_json(REAL / 'coco' / f'{split}.json')
        lines = []
        for image in content['images']:
            stem = Path(image['file_name']).stem
            boxes = {
                f'{names[entry["category_id"]]} {entry["id"]}': corners(entry['bbox'])
                for entry in content['annotations']
                if entry['image_id'] == image['id']
            }
            files[f'top/BCCD/Annotations/{stem}.xml'] = voc(boxes, image['width'], image['height'])
            files[f'top/BCCD/JPEGImages/{stem}.jpg'] = (REAL / 'JPEGImages' / image['file_name']).read_bytes()
            lines.append(f'{stem}\n')
        files[f'top/BCCD/ImageSets/Main/{split}.txt'] = ''.join(lines).encode()
    (tmp_path / 'a.zip').write_bytes(zip_of(files))
    made = fetch(SOURCES['bccd'], tmp_path / 'bccd', archive=tmp_path / 'a.zip')
    assert made.contents == SOURCES['bccd'].contents
    for path in REAL.rglob('*.json'):
        assert read_json(tmp_path / 'bccd' / path.relative_to(REAL)) == read_json(path)


def corners(box: list[float]) -> tuple[int, int, int, int]:
    x, y, width, height = (int(value) for value in box)
    return x, y, x + width, y + height
