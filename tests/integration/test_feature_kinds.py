"""Kinds of feature distillation in a detector of MMDetection: on two ranks, and after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')
from tests.integration.halves import assert_equals_whole, train_share
from tests.integration.runs import EMA, Recorder, Squares, assert_same, make_runner, weights
from tests.ranks import on_two_ranks

WIDER: dict[str, Any] = dict(student_tap='backbone.layer2', teacher_tap='backbone.layer3', resize='bilinear')
"""Taps of different widths, so that there is an adapter."""
PEARSON = dict(type='kd_plugins.FeatureDistiller', kind='pearson', weight=2.0)
NORMALIZED = dict(type='kd_plugins.FeatureDistiller', kind='channel_wise', normalize='batch', weight=0.5)
MASKED = dict(
    type='kd_plugins.FeatureDistiller',
    reduction='sum',
    adapter=dict(type='kd_plugins.MaskedGenerator', mask_ratio=0.5),
    weight=1e-4,
)
# The ranks draw masks of their own.
UNMASKED = {**MASKED, 'adapter': dict(type='kd_plugins.MaskedGenerator', mask_ratio=0.0)}
SHARED = {
    'pearson': PEARSON,
    'wider': {**PEARSON, **WIDER},
    'normalized': NORMALIZED,
    'cosine': {**NORMALIZED, **WIDER, 'kind': 'cosine'},
    'generator': UNMASKED,
}


def train_half(work_dir: Path) -> dict[str, Any]:
    return train_share(work_dir / 'half', 2, SHARED)


@pytest.mark.slow
@pytest.mark.distributed
def test_two_halves_equal_the_whole(tmp_path: Path) -> None:
    whole = train_share(tmp_path / 'one', 4, SHARED)
    assert all(value > 0 for key, value in whole['losses'][0].items() if key.startswith('distill'))
    assert_equals_whole(on_two_ranks(tmp_path, train_half, tmp_path), whole)


def run(work_dir: Path, **options: Any) -> tuple[Any, list[dict[str, float]]]:
    recorder = Recorder(options.pop('kill_at', None))
    distillers = {'masked': MASKED, 'wider': {**MASKED, **WIDER}, 'pearson': PEARSON, 'normalized': NORMALIZED}
    runner = make_runner(work_dir, distillers, EMA, hooks=[recorder], dataset=Squares(8), epochs=2, **options)
    runner.train()
    return runner, recorder.losses


def test_resumed_run_draws_the_same_masks(tmp_path: Path) -> None:
    whole, expected = run(tmp_path / 'whole')
    assert len({step['distill.masked.loss_feat'] for step in expected}) == len(expected) == 4
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / 'cut', kill_at=2)
    resumed, losses = run(tmp_path / 'cut', resume=True)
    assert losses == expected[2:]
    assert_same(weights(resumed.model), weights(whole.model))


def test_other_seeds_draw_other_masks(tmp_path: Path) -> None:
    """The masks follow the seed of the run, and drawing them leaves the other random numbers alone."""
    losses = [run(tmp_path / str(seed), randomness={'seed': seed})[1][0] for seed in (3, 4)]
    assert losses[0]['distill.masked.loss_feat'] != losses[1]['distill.masked.loss_feat']
