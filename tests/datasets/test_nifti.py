"""NIfTI volumes: files of a data set, reading, and error sentences about unusable files."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('nibabel')
pytest.importorskip('monai')

import nibabel
from mmengine.config import Config
from mmengine.registry import DATASETS

from kd_plugins.datasets.nifti import read_labels, read_volume, split_names
from kd_plugins.errors import ConfigError
from tests.volumes import CLASSES, FLIPPED, LOAD, PACK, dataset_config, make_pair, monai_step, write_nifti

HIPPOCAMPUS = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'hippocampus'
CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets'
SHAPE = (12, 14, 10)


def build(root: Path, pipeline: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    return DATASETS.build(dataset_config(root, pipeline or [LOAD, PACK], **more))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ('b.nii.gz', 'a.nii.gz', 'c.nii'):
        make_pair(tmp_path, name)
    return tmp_path


def names(dataset: Any) -> list[str]:
    return [Path(dataset.get_data_info(index)['img_path']).name for index in range(len(dataset))]


def test_images_are_paired_with_labels_by_name(folder: Path) -> None:
    (folder / 'images' / 'notes.txt').write_text('no volume')
    dataset = build(folder)
    assert names(dataset) == ['a.nii.gz', 'b.nii.gz', 'c.nii']
    item = dataset[2]
    assert item['inputs'].dtype == torch.float32 and item['inputs'].shape == (1, *SHAPE)
    labels = item['data_samples'].gt_sem_seg.data
    assert labels.dtype == torch.int64 and labels.shape == (1, *SHAPE)
    assert np.array_equal(labels[0].numpy(), nibabel.load(folder / 'labels' / 'c.nii').get_fdata())


def test_without_a_label_folder_there_are_images_alone(folder: Path) -> None:
    dataset = build(folder, data_prefix={'img': 'images/'})
    assert 'gt_sem_seg' not in dataset[0]['data_samples']


def test_pairs_from_a_decathlon_json(folder: Path) -> None:
    content = {
        'name': 'task',
        'training': [{'image': 'images/b.nii.gz', 'label': './labels/b.nii.gz'}],
        'test': ['images/c.nii'],
    }
    (folder / 'dataset.json').write_text(json.dumps(content))
    assert names(build(folder, ann_file='dataset.json')) == ['b.nii.gz']
    dataset = build(folder, ann_file='dataset.json', part='test')
    assert names(dataset) == ['c.nii'] and 'gt_sem_seg' not in dataset[0]['data_samples']
    with pytest.raises(ConfigError, match="is 'trainng'; nearest: 'training'"):
        build(folder, ann_file='dataset.json', part='trainng')


def test_the_parts_of_a_split_share_nothing_and_depend_on_the_seed_alone() -> None:
    actual = [f'{index:03d}' for index in range(40)]
    sizes = {'train': 25, 'val': 5, 'test': 10}
    parts = split_names(actual, sizes)
    assert {name: len(part) for name, part in parts.items()} == sizes
    assert sorted(name for part in parts.values() for name in part) == actual
    assert split_names(actual[::-1], sizes) == parts != split_names(actual, sizes, seed=1)
    with pytest.raises(ConfigError, match=r'dataset.split: .* needs 41 volumes, and there are 40'):
        split_names(actual, {'train': 41})


def test_a_split_of_a_folder(folder: Path) -> None:
    split = {'train': 2, 'val': 1, 'seed': 3}
    parts = [names(build(folder, split=split, part=part)) for part in ('train', 'val')]
    assert sorted(name for part in parts for name in part) == ['a.nii.gz', 'b.nii.gz', 'c.nii']
    with pytest.raises(ConfigError, match="dataset.part is 'vall'; nearest: 'val'"):
        build(folder, split=split, part='vall')


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason='the hippocampus volumes are not in ../shared/data')
def test_the_hippocampus_split_is_the_documented_one() -> None:
    split = {'train': 140, 'val': 20, 'test': 40, 'seed': 0}
    parts = {part: names(build(HIPPOCAMPUS, split=split, part=part)) for part in ('train', 'val', 'test')}
    assert [len(part) for part in parts.values()] == [140, 20, 40]
    assert len({name for part in parts.values() for name in part}) == 200
    text = json.dumps({part: sorted(actual) for part, actual in parts.items()})
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == 'c0298c5d506b8700'


def test_folds_of_few_volumes_are_disjoint_and_tested_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HIPPOCAMPUS_FOLD', '3')
    whole, few = (Config.fromfile(CONFIGS / f'{name}.py') for name in ('hippocampus', 'hippocampus16'))
    files = [f'{index:03d}' for index in range(200)]

    def parts(split: dict[str, int]) -> dict[str, list[str]]:
        return split_names(files, {name: size for name, size in split.items() if name != 'seed'}, split['seed'])

    split = few.train_dataloader.dataset.dataset.split
    named, original = parts(split), parts(whole.train_dataloader.dataset.split)
    assert named['test'] == original['test'] and len(named['test']) == 40
    folds = [named[f'fold_{fold}'] for fold in range(5)]
    assert [len(fold) for fold in folds] == [16] * 5 and len({name for fold in folds for name in fold}) == 80
    assert not {name for fold in folds for name in fold} & set(named['test'])
    assert few.train_dataloader.dataset.dataset.part == 'fold_3'
    measured = few.val_dataloader.dataset.datasets
    assert [(entry.part, entry.split) for entry in measured] == [('test', split), ('fold_3', split)]
    assert [entry.part for entry in few.val_evaluator] == ['test', 'fold_3']
    assert few.test_dataloader.dataset.part == 'test' and few.test_dataloader.dataset.split == split
    # The images are scaled alike.
    scaling = [step for step in few.train_pipeline[1].transforms if step.type == 'ScaleIntensityd']
    assert scaling and all(entry.pipeline[1].transforms[1:] == scaling for entry in measured)


def test_samples_know_their_part(folder: Path) -> None:
    assert build(folder, split={'train': 2, 'val': 1}, part='val')[0]['data_samples'].part == 'val'
    assert build(folder)[0]['data_samples'].part is None


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason='the hippocampus volumes are not in ../shared/data')
def test_real_volumes_of_either_type_load() -> None:
    dataset = build(HIPPOCAMPUS, pipeline=[LOAD, PACK])
    kinds = {}
    for path in sorted((HIPPOCAMPUS / 'images').iterdir())[:12]:
        kinds.setdefault(str(nibabel.load(path).get_data_dtype()), path.name)
    assert set(kinds) == {'uint8', 'float32'}
    listed = names(dataset)
    for name in kinds.values():
        sample = dataset[listed.index(name)]['data_samples']
        assert sample.orientation == 'RAS' and sample.spacing == (1.0, 1.0, 1.0)
        assert sample.gt_sem_seg.data.unique().tolist() == [0, 1, 2]


def test_whole_numbers_stored_as_floats_are_labels(tmp_path: Path) -> None:
    image, label = make_pair(tmp_path, 'a.nii.gz')
    values = nibabel.load(label).get_fdata().astype(np.float32)
    write_nifti(label, values)
    assert np.array_equal(read_labels(str(label), str(image), CLASSES).numpy()[0], values)


def test_channels_come_first(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(*SHAPE, 2)).astype(np.float32)
    path = write_nifti(tmp_path / 'a.nii.gz', values, FLIPPED)
    volume = read_volume(str(path))
    assert np.array_equal(volume.numpy(), np.moveaxis(values, -1, 0))
    assert np.allclose(volume.affine, FLIPPED)


def test_affine_spacing_and_orientation_are_kept(tmp_path: Path) -> None:
    make_pair(tmp_path, 'a.nii.gz', affine=FLIPPED)
    sample = build(tmp_path)[0]['data_samples']
    assert np.allclose(sample.ori_affine, FLIPPED) and np.allclose(sample.gt_sem_seg.affine, FLIPPED)
    assert sample.spacing == pytest.approx((0.8, 1.5, 2.5))
    assert sample.orientation == 'LPI' and sample.ori_shape == SHAPE


def test_two_labels_of_one_image_are_cached_apart(folder: Path) -> None:
    write_nifti(folder / 'labels' / 'second_reader.nii', np.ones(SHAPE, np.uint8))
    labels = ('labels/a.nii.gz', 'labels/second_reader.nii')
    (folder / 'dataset.json').write_text(
        json.dumps({'training': [{'image': 'images/a.nii.gz', 'label': label} for label in labels]})
    )
    dataset = build(folder, ann_file='dataset.json', cache=True)
    first, second = (dataset[index]['data_samples'].gt_sem_seg.data for index in range(2))
    assert not torch.equal(first, second) and bool((second == 1).all())


def test_cached_items_are_the_same_and_read_once(folder: Path) -> None:
    random = monai_step({'type': 'RandGaussianNoised', 'keys': 'image', 'prob': 1.0})
    pipeline = [LOAD, monai_step({'type': 'NormalizeIntensityd', 'keys': 'image'}), random, PACK]

    def draw(dataset: Any) -> torch.Tensor:
        np.random.seed(5)
        return dataset[0]['inputs']

    plain, cached = build(folder, pipeline), build(folder, pipeline, cache=True)
    expected = draw(plain)
    assert torch.equal(draw(cached), expected)
    (folder / 'images' / 'a.nii.gz').unlink()
    assert torch.equal(draw(cached), expected)
    # What follows the cache draws anew.
    assert not torch.equal(cached[0]['inputs'], expected)
    with pytest.raises(ConfigError, match='does not exist'):
        plain[0]


def damage(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def other_values(change: Callable[[Any], Any]) -> Callable[[Path, Path], None]:
    def apply(image: Path, label: Path) -> None:
        write_nifti(label, change(nibabel.load(label).get_fdata()))

    return apply


def complex_image(image: Path, label: Path) -> None:
    write_nifti(image, np.zeros(SHAPE, np.complex64))


def colour_image(image: Path, label: Path) -> None:
    write_nifti(image, np.zeros(SHAPE, np.dtype([('R', 'u1'), ('G', 'u1'), ('B', 'u1')])))


def not_finite(image: Path, label: Path) -> None:
    values = np.zeros(SHAPE, np.float32)
    values[3, 3, 3] = np.nan
    write_nifti(image, values)


def flat_affine(image: Path, label: Path) -> None:
    actual = nibabel.load(image)
    actual = nibabel.Nifti1Image(actual.get_fdata().astype(np.float32), None)
    actual.header['sform_code'] = 1
    actual.header['srow_x'], actual.header['srow_y'], actual.header['srow_z'] = [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]
    nibabel.save(actual, image)


BAD: list[tuple[str, Callable[[Path, Path], Any], str]] = [
    ('truncated', lambda image, label: damage(image, 0.6), "a.nii.gz' is truncated or"),
    ('truncated header', lambda image, label: damage(image, 0.02), "a.nii.gz' is truncated or not a NIfTI file"),
    ('empty', lambda image, label: image.write_bytes(b''), "a.nii.gz' is truncated or not a NIfTI file"),
    ('other file', lambda image, label: image.write_bytes(gzip.compress(b'x' * 4000)), 'not a NIfTI file'),
    ('truncated label', lambda image, label: damage(label, 0.6), "labels/a.nii.gz' is truncated or"),
    ('absent', lambda image, label: image.unlink(), "images/a.nii.gz' does not exist; nearest: 'aa.nii.gz'"),
    ('complex', complex_image, 'holds voxels of type complex64'),
    ('colours', colour_image, "holds voxels of type \\[\\('R'"),
    ('nan', not_finite, 'holds NaN or infinite voxels'),
    ('two axes', lambda image, label: write_nifti(image, np.zeros((5, 6), np.float32)), r'has shape \(5, 6\)'),
    ('flat', flat_affine, 'maps all voxels to one plane'),
    (
        'other shape',
        lambda image, label: write_nifti(label, np.zeros((12, 14, 9), np.uint8)),
        r"labels/a.nii.gz' has shape \(12, 14, 9\) where its image '.*' has \(12, 14, 10\)",
    ),
    (
        'other affine',
        lambda image, label: write_nifti(label, np.zeros(SHAPE, np.uint8), np.diag([1, 2.0, 1, 1])),
        r"and its image '.*' have different affines \(row 1: \[0.0, 2.0, 0.0, 0.0\] and \[0.0, 1.0, 0.0, 0.0\]\)",
    ),
    (
        'outside',
        other_values(lambda values: (values * 7).astype(np.uint8)),
        'label 7, but .* 3 entries, .*: 0 to 2',
    ),
    ('negative', other_values(lambda values: (-values).astype(np.int16)), 'holds the label -2, but'),
    ('half', other_values(lambda values: (values / 2).astype(np.float32)), 'holds the label 0.5; labels are whole'),
]


@pytest.mark.parametrize(('spoil', 'sentence'), [entry[1:] for entry in BAD], ids=[entry[0] for entry in BAD])
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, spoil: Callable[..., Any], sentence: str) -> None:
    for name in ('a.nii.gz', 'aa.nii.gz'):
        make_pair(tmp_path, name)
    dataset = build(tmp_path)
    spoil(tmp_path / 'images' / 'a.nii.gz', tmp_path / 'labels' / 'a.nii.gz')
    with pytest.raises(ConfigError, match=sentence) as caught:
        dataset[0]
    assert '\n' not in str(caught.value)


def test_a_truncated_uncompressed_file_is_one_sentence(tmp_path: Path) -> None:
    image, _ = make_pair(tmp_path, 'a.nii')
    damage(image, 0.6)
    with pytest.raises(ConfigError, match="a.nii' is truncated or damaged"):
        read_volume(str(image))


def test_what_is_not_there_is_one_sentence(folder: Path) -> None:
    (folder / 'labels' / 'b.nii.gz').rename(folder / 'labels' / 'bb.nii.gz')
    with pytest.raises(ConfigError, match="images/b.nii.gz' has no label in '.*'; nearest: 'bb.nii.gz'"):
        build(folder)
    with pytest.raises(ConfigError, match="metainfo has no 'classes'"):
        build(folder, metainfo={}, data_prefix={'img': 'images/'})
    (folder / 'nothing').mkdir()
    with pytest.raises(ConfigError, match="no volume in '.*nothing'"):
        build(folder, data_prefix={'img': 'nothing'})
    with pytest.raises(ConfigError, match="data_prefix.img: '.*imges' does not exist"):
        build(folder, data_prefix={'img': 'imges'})
    (folder / 'x.json').write_text('{"training": [')
    with pytest.raises(ConfigError, match='is not a readable json file'):
        build(folder, ann_file='x.json')
