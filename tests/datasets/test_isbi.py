"""ISBI's slices in folds, on files made here and on the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd_plugins.datasets import ISBIMembraneDataset
from kd_plugins.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / 'shared' / 'data' / 'isbi_membrane' / 'train'


def write(folder: Path, count: int = 12) -> Path:
    cv2 = pytest.importorskip('cv2')
    for index in range(count):
        generator = np.random.default_rng(index)
        for name in ('image', 'label'):
            (folder / name).mkdir(exist_ok=True)
            pixels = generator.integers(0, 2, (8, 8)) * 255
            cv2.imwrite(str(folder / name / f'{index}.png'), pixels.astype(np.uint8))
    return folder


def slices(dataset: ISBIMembraneDataset) -> list[int]:
    return [int(Path(dataset.get_data_info(index)['img_path']).stem) for index in range(len(dataset))]


def test_folds_are_runs_that_cover_all_slices_once(tmp_path: Path) -> None:
    root = str(write(tmp_path))
    seen: list[int] = []
    for fold in range(5):
        train, val = (ISBIMembraneDataset(fold, part=part, data_root=root, pipeline=[]) for part in ('train', 'val'))
        actual = slices(val)
        assert actual == list(range(actual[0], actual[-1] + 1))
        assert sorted(slices(train) + actual) == list(range(12))
        seen += actual
    assert seen == list(range(12))  # in the order of the stack, not of the file names
    assert slices(ISBIMembraneDataset(part='all', data_root=root, pipeline=[])) == list(range(12))


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'fold': 5}, 'dataset.fold is 5; valid: 0 to 4'),
        ({'fold': -1}, 'dataset.fold is -1; valid: 0 to 4'),
        ({'folds': 1}, 'dataset.folds is 1; nearest: 2'),
        ({'fold': 0, 'folds': 20}, 'dataset.folds is 20 and there are 12 slices'),
        ({'part': 'test'}, "dataset.part is 'test'"),
        ({'data_prefix': {'img_path': 'images', 'seg_map_path': 'label'}}, r'img_path: .*images. holds no slices'),
        ({'data_prefix': {'img_path': 'label', 'seg_map_path': 'masks'}}, r"masks' has no mask of slice '0.png'"),
    ],
)
def test_sentences(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        ISBIMembraneDataset(data_root=str(write(tmp_path)), pipeline=[], **options)


def test_a_file_that_is_no_slice(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / 'image' / 'notes.png').write_bytes(b'')
    with pytest.raises(ConfigError, match=r"holds 'notes.png'; it must hold 0.png, 1.png"):
        ISBIMembraneDataset(data_root=str(root), pipeline=[])


def pipeline(config: str) -> Any:
    pytest.importorskip('mmseg')
    from mmengine.config import Config
    from mmengine.dataset import Compose
    from mmengine.registry import DefaultScope
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return Compose(Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'isbi.py')[config])


@pytest.mark.parametrize('config', ['train_pipeline', 'test_pipeline'])
@pytest.mark.skipif(not REAL.is_dir(), reason='needs ../shared/data/isbi_membrane')
def test_real_slices_through_the_pipelines(config: str) -> None:
    steps = pipeline(config)
    dataset = ISBIMembraneDataset(fold=1, part='val', data_root=str(REAL), pipeline=[])
    assert slices(dataset) == [6, 7, 8, 9, 10, 11]
    actual = steps(dataset.get_data_info(0))
    image, labels = actual['inputs'].float().mean(dim=0), actual['data_samples'].gt_sem_seg.data[0]
    side = 256 if config == 'train_pipeline' else 512
    assert image.shape == labels.shape == (side, side)
    assert labels.unique().tolist() == [0, 1]
    # Membranes are dark, and the smaller part.
    assert image[labels == 1].mean() < image[labels == 0].mean() - 20
    assert 0.1 < (labels == 1).float().mean() < 0.4
