"""Volumetric metric compared with MONAI's, absent structures, two ranks."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

pytest.importorskip('monai')

from mmengine.registry import METRICS
from mmengine.structures import BaseDataElement

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation import VolumetricMetric, volume_scores
from kd_plugins.structures import VolumeDataSample
from tests.ranks import on_two_ranks
from tests.volumes import CLASSES, make_labels

SHAPE = (16, 14, 12)
SPACING = (0.8, 1.0, 2.5)


def noisy(labels: torch.Tensor, seed: int, part: float = 0.03) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    other = torch.randint(0, 3, labels.shape, generator=generator)
    return torch.where(torch.rand(labels.shape, generator=generator) < part, other, labels)


def sample_of(seed: int, missing: tuple[int, ...] = (), absent: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return a data sample whose prediction lacks ``missing`` and whose labels lack ``absent``."""
    labels = torch.from_numpy(make_labels(SHAPE, seed)).long()[None]
    prediction = noisy(labels, seed)
    for structure in missing:
        prediction[prediction == structure] = 0
    for structure in absent:
        labels[labels == structure] = 0
    affine = np.diag([*SPACING, 1.0])
    sample = VolumeDataSample(metainfo=dict(img_path=f'{seed}.nii.gz', affine=affine))
    sample.gt_sem_seg = BaseDataElement(metainfo=dict(affine=affine), data=labels)
    sample.pred_sem_seg = BaseDataElement(data=prediction)
    return sample.to_dict()


def evaluate(samples: list[dict[str, Any]], size: int | None = None, **arguments: Any) -> dict[str, float]:
    metric = VolumetricMetric(**arguments)
    metric.dataset_meta = {'classes': CLASSES}
    for sample in samples:
        metric.process(None, [sample])
    return metric.evaluate(size or len(samples))


def test_a_part_of_joined_data_counts_alone() -> None:
    samples = [{**sample_of(seed), 'part': 'test' if seed % 2 else 'fold'} for seed in range(5)]
    folds, tested = samples[::2], samples[1::2]
    assert evaluate(samples, part='fold', prefix='training') == {
        key.replace('volume', 'training'): value for key, value in evaluate(folds).items()
    }
    assert evaluate(samples, part='test') == evaluate(tested) != evaluate(samples)
    # A sampler of two processes repeats the first volume at the end of five.
    assert evaluate([*samples, samples[0]], size=5, part='fold') == evaluate(folds)
    with pytest.raises(ConfigError, match="test_evaluator.part is 'train', and no volume of test_dataloader has this"):
        evaluate(samples, part='train')


def test_equals_monais_metrics_called_directly() -> None:
    from monai.metrics import DiceMetric, HausdorffDistanceMetric
    from monai.networks import one_hot

    samples = [sample_of(seed) for seed in range(4)]
    dice = DiceMetric(include_background=False, reduction='mean_batch')
    distance = HausdorffDistanceMetric(include_background=False, percentile=95, reduction='mean_batch')
    for sample in samples:
        pair = [one_hot(sample[name]['data'][None], 3) for name in ('pred_sem_seg', 'gt_sem_seg')]
        dice(*pair)
        distance(*pair, spacing=SPACING)
    actual = evaluate(samples)
    per_structure = {'dice': dice.aggregate(), 'hd95': distance.aggregate()}
    for name, values in per_structure.items():
        assert actual[f'volume/{name}_front'] == pytest.approx(float(values[0]), abs=1e-6)
        assert actual[f'volume/{name}_back'] == pytest.approx(float(values[1]), abs=1e-6)
        assert actual[f'volume/{name}'] == pytest.approx(float(values.mean()), abs=1e-6)
    assert actual['volume/hd95_undefined'] == 0 and 0.5 < actual['volume/dice'] < 1
    assert METRICS.get('kd_plugins.VolumetricMetric') is VolumetricMetric


def test_the_distance_is_in_millimetres_along_each_axis() -> None:
    labels = torch.zeros(1, 20, 20, 20, dtype=torch.long)
    labels[0, 5:12, 5:12, 5:12] = 1
    for axis, spacing in enumerate(SPACING):
        actual = volume_scores(labels.roll(2, axis + 1), labels, 2, SPACING)
        assert actual['hd95'] == [pytest.approx(2 * spacing)]
        assert actual['dice'] == [pytest.approx(5 / 7)]


@pytest.mark.parametrize('ignore_empty', [True, False])
def test_structures_that_are_not_there(ignore_empty: bool) -> None:
    whole, missed, absent = sample_of(0), sample_of(1, missing=(2,)), sample_of(2, absent=(2,))
    neither = sample_of(3, missing=(2,), absent=(2,))
    scores = [
        volume_scores(sample['pred_sem_seg']['data'], sample['gt_sem_seg']['data'], 3, SPACING, ignore_empty)
        for sample in (whole, missed, absent, neither)
    ]
    back = [entry['dice'][1] for entry in scores]
    assert back[1] == 0
    if ignore_empty:
        assert math.isnan(back[2]) and math.isnan(back[3])
    else:
        assert back[2:] == [0, 1]
    assert [math.isnan(entry['hd95'][1]) for entry in scores] == [False, True, True, True]
    assert [entry['one_sided'][1] for entry in scores] == [0, 1, 1, 0]
    actual = evaluate([whole, missed, absent, neither], ignore_empty=ignore_empty)
    assert actual['volume/dice_back'] == pytest.approx(np.nanmean(back))
    assert actual['volume/hd95_back'] == pytest.approx(scores[0]['hd95'][1])
    assert actual['volume/hd95_undefined'] == 2
    assert actual['volume/dice'] == pytest.approx((actual['volume/dice_front'] + actual['volume/dice_back']) / 2)


def test_a_network_that_finds_nothing_has_no_distance_but_a_dice_of_zero() -> None:
    actual = evaluate([sample_of(seed, missing=(1, 2)) for seed in range(2)])
    assert actual['volume/dice'] == 0 and math.isnan(actual['volume/hd95']) and actual['volume/hd95_undefined'] == 4


def test_scores_of_every_volume_are_written(tmp_path: Path) -> None:
    pytest.importorskip('nibabel')
    from tests.volumes import make_pair

    samples = []
    for seed in range(2):
        image, _ = make_pair(tmp_path, f'{seed}.nii.gz', SHAPE, np.diag([*SPACING, 1.0]))
        sample = sample_of(seed, missing=(2,) if seed else ())
        samples.append({**sample, 'img_path': str(image), 'ori_shape': SHAPE, 'ori_affine': sample['affine']})
    evaluate(samples, output_dir=str(tmp_path / 'out'))
    content = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    assert content['structures'] == ['front', 'back']
    assert [Path(entry['volume']).name for entry in content['volumes']] == ['0.nii.gz', '1.nii.gz']
    assert content['volumes'][1]['hd95'][1] is None and content['volumes'][1]['dice'][1] == 0
    actual = evaluate([{**samples[0], 'gt_sem_seg': None}], output_dir=str(tmp_path / 'raw'), format_only=True)
    assert actual == {} and (tmp_path / 'raw' / '0.nii.gz').is_file()
    twin, _ = make_pair(tmp_path / 'other', '0.nii.gz', SHAPE)
    with pytest.raises(ConfigError, match='would be written to one file'):
        evaluate([samples[0], {**samples[1], 'img_path': str(twin)}], output_dir=str(tmp_path / 'out'))


def test_two_parts_write_their_scores_into_one_folder(tmp_path: Path) -> None:
    pytest.importorskip('nibabel')
    from tests.volumes import make_pair

    samples = []
    for seed, part in enumerate(('test', 'fold')):
        image, _ = make_pair(tmp_path, f'{seed}.nii.gz', SHAPE, np.diag([*SPACING, 1.0]))
        place = dict(img_path=str(image), ori_shape=SHAPE, ori_affine=np.diag([*SPACING, 1.0]), part=part)
        samples.append({**sample_of(seed), **place})
    for part in ('test', 'fold'):
        evaluate(samples, part=part, output_dir=str(tmp_path / 'out'))
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == ['0.nii.gz', '1.nii.gz', 'scores_fold.json', 'scores_test.json']
    content = json.loads((tmp_path / 'out' / 'scores_test.json').read_text())
    assert [Path(entry['volume']).name for entry in content['volumes']] == ['0.nii.gz']


def test_what_cannot_be_compared_is_one_sentence() -> None:
    sample = sample_of(0)
    del sample['gt_sem_seg']
    with pytest.raises(ConfigError, match=r"'0.nii.gz' has no labels to compare with; .*format_only=True"):
        evaluate([sample])
    with pytest.raises(ConfigError, match='format_only is True, so output_dir must name'):
        VolumetricMetric(format_only=True)


def _evaluate_a_share() -> dict[str, float]:
    # Five volumes on two ranks: the sampler repeats one, which must not count twice.
    seeds = [0, 2, 4] if dist.get_rank() == 0 else [1, 3, 0]
    return evaluate([sample_of(seed, missing=(2,) if seed == 3 else ()) for seed in seeds], size=5)


@pytest.mark.distributed
def test_two_ranks_report_what_one_process_does(tmp_path: Path) -> None:
    ranks = on_two_ranks(tmp_path, _evaluate_a_share)
    expected = evaluate([sample_of(seed, missing=(2,) if seed == 3 else ()) for seed in range(5)])
    for scores in ranks:
        assert scores == pytest.approx(expected)
