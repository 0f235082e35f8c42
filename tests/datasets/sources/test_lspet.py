"""Leeds Sports Pose Extended: the split, the annotations, and the config that reads them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from kd_plugins.datasets.sources import SOURCES, SourceError, fetch
from kd_plugins.datasets.sources.lspet import LEFT_OUT, SIZES, annotate, draw_split, read_joints
from tests.datasets.sources.configured import dataset_of, fetch_tiny
from tests.datasets.sources.tiny_archives import DATA, lspet_files, read_json, some_joints, zip_of

REAL = DATA / 'lspet'


def real_parts() -> dict[str, dict]:
    return {part: read_json(REAL / 'coco' / f'{part}.json') for part in SIZES}


def number_of(image: dict) -> int:
    return int(Path(image['file_name']).stem[2:])


def real_joints() -> np.ndarray:
    """Return joints as in ``joints.mat``, from the real annotations.

    The photographs that the draw passes over are not among them; any others between the same neighbours do as well.
    """
    joints = np.zeros((14, 3, 10000))
    taken = []
    for content in real_parts().values():
        for image, person in zip(content['images'], content['annotations']):
            taken.append(number_of(image))
            joints[:, :, taken[-1] - 1] = np.array(person['keypoints']).reshape(14, 3)
            joints[:, 2, taken[-1] - 1] = 1
    positions = list(range(3852))
    random.Random(0).shuffle(positions)
    last, place = 0, -1
    for number, position in zip(sorted(taken), sorted(positions[: len(taken)])):
        between = [other for other in range(last + 1, number) if other not in LEFT_OUT][: position - place - 1]
        joints[:, 2, [other - 1 for other in between]] = 1
        last, place = number, position
    joints[:, 2, [other - 1 for other in set(range(last + 1, 10001)) - set(LEFT_OUT)][: 3851 - place]] = 1
    joints[:, 2, [other - 1 for other in LEFT_OUT]] = 1
    return joints


def test_only_persons_with_all_joints_are_drawn() -> None:
    joints = some_joints(8)
    parts = draw_split(joints, left_out=(5,), sizes={'train': 4, 'val': 2})
    assert sorted(parts['train'] + parts['val']) == [1, 3, 4, 6, 7, 8]  # 2 lacks a joint
    assert all(numbers == sorted(numbers) for numbers in parts.values())
    with pytest.raises(SourceError, match="'joints.mat' has 6 photographs to draw from; expected 7"):
        draw_split(joints, left_out=(5,), sizes={'train': 7})


def test_a_box_is_wider_than_the_joints_and_inside_the_photograph() -> None:
    points = np.array([[10.004, 20.0], [30.0, 40.0]])
    person = annotate(points, 32, 60)
    assert person['keypoints'] == [10.0, 20.0, 2, 30.0, 40.0, 2]
    assert person['bbox'] == pytest.approx([7.0, 17.0, 25.0, 26.0], abs=0.01)
    assert person['area'] == pytest.approx((32 - 7.004) * 26.0)


def test_other_files_are_refused(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip('scipy.io')
    scipy_io.savemat(tmp_path / 'joints.mat', {'joints': np.zeros((3, 14, 2000))})  # that of the smaller LSP
    with pytest.raises(SourceError, match=r'has shape \(3, 14, 2000\); expected \(14, 3, N\)'):
        read_joints(tmp_path / 'joints.mat')
    scipy_io.savemat(tmp_path / 'joints.mat', {'other': 1})
    with pytest.raises(SourceError, match='has shape None'):
        read_joints(tmp_path / 'joints.mat')
    (tmp_path / 'joints.mat').write_bytes(b'no such format' * 20)
    with pytest.raises(SourceError, match="'joints.mat' of the archive cannot be read as a MATLAB file"):
        read_joints(tmp_path / 'joints.mat')


def test_the_config_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('mmpose')
    folder = fetch_tiny('lspet', tmp_path, monkeypatch)
    dataset = dataset_of('lspet', 'train')
    assert len(dataset) == 3 and len(dataset_of('lspet', 'val')) == 1
    assert dataset[0]['inputs'].shape == (3, 192, 160)
    image = read_json(folder / 'coco' / 'train.json')['images'][0]
    assert (image['width'], image['height']) == (40, 60)
    info = dataset.get_data_info(0)
    np.testing.assert_allclose(info['keypoints'][0], some_joints(7)[:, :2, number_of(image) - 1], atol=0.006)


@pytest.mark.skipif(not REAL.is_dir(), reason='the real data are not in ../shared/data')
def test_the_real_files_are_the_same(tmp_path: Path) -> None:
    pytest.importorskip('scipy')
    photographs = {path.name: path.read_bytes() for path in (REAL / 'images').iterdir()}
    files = lspet_files(real_joints(), photographs) | {'README.txt': (REAL / 'README.txt').read_bytes()}
    (tmp_path / 'a.zip').write_bytes(zip_of(files))
    made = fetch(SOURCES['lspet'], tmp_path / 'lspet', archive=tmp_path / 'a.zip')
    assert made.files == 2503
    for part, expected in real_parts().items():
        content = read_json(tmp_path / 'lspet' / 'coco' / f'{part}.json')
        assert content['images'] == expected['images'] and content['categories'] == expected['categories']
        for person, real in zip(content['annotations'], expected['annotations']):
            # Boxes and areas of the real files come from joints with more digits than they keep.
            assert person.pop('bbox') == pytest.approx(real.pop('bbox'), abs=0.03)
            assert person.pop('area') == pytest.approx(real.pop('area'), rel=0.001)
        assert content['annotations'] == expected['annotations']
