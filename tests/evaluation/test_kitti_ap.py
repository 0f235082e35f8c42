"""KITTI's average precision against its rules written out object by object, and where it is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.kitti_ap import COUNTS, IGNORED, OTHER, Matches, average_precision, score_thresholds


def statistics(frame: Matches, min_overlap: float, threshold: float | None) -> tuple[int, int, int, list[float]]:
    """One frame by the development kit's rules: right, wrong, missed and the scores of what is right."""
    taken: set[int] = set()
    right = wrong = missed = 0
    scores = []
    live = [
        d
        for d in range(len(frame.scores))
        if frame.detections[d] != OTHER and (threshold is None or frame.scores[d] >= threshold)
    ]
    for g, state in enumerate(frame.objects):
        if state == OTHER:
            continue
        near = [d for d in live if d not in taken and frame.overlaps[d, g] > min_overlap]
        chosen = None
        if near and threshold is None:
            chosen = max(near, key=lambda d: (frame.scores[d], -d))
        elif near:
            good = [d for d in near if frame.detections[d] == COUNTS]
            chosen = max(good, key=lambda d: (frame.overlaps[d, g], -d)) if good else near[0]
        if chosen is None:
            missed += state == COUNTS
            continue
        taken.add(chosen)
        if state == COUNTS and frame.detections[chosen] == COUNTS:
            right += 1
            scores.append(frame.scores[chosen])
    if threshold is not None:
        wrong = sum(d not in taken and frame.detections[d] == COUNTS for d in live)
    return right, wrong, missed, scores


def expected_precision(frames: list[Matches], min_overlap: float) -> float:
    total = sum(int((frame.objects == COUNTS).sum()) for frame in frames)
    scores = sorted((s for frame in frames for s in statistics(frame, min_overlap, None)[3]), reverse=True)
    thresholds, recall = [], 0.0
    for i, score in enumerate(scores):
        left = (i + 1) / total
        right = (i + 2) / total if i < len(scores) - 1 else left
        if right - recall < recall - left and i < len(scores) - 1:
            continue
        thresholds.append(score)
        recall += 1 / 40
    precision = [0.0] * 41
    for i, threshold in enumerate(thresholds):
        counts = [statistics(frame, min_overlap, threshold) for frame in frames]
        right, wrong = sum(c[0] for c in counts), sum(c[1] for c in counts)
        precision[i] = right / (right + wrong) if right + wrong else 0.0
    return sum(max(precision[i:]) for i in range(1, 41)) / 40


def random_frames(seed: int, count: int = 12, states: tuple[int, ...] = (0, 0, 0, 1, -1)) -> list[Matches]:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        detections, objects = int(rng.integers(0, 16)), int(rng.integers(0, 12))
        overlaps = rng.random((detections, objects)) * (rng.random((detections, objects)) < 0.4)
        frames.append(
            Matches(
                overlaps,
                rng.random(detections).round(1 if seed % 2 else 6),  # with and without equal scores
                rng.choice(states, objects).astype(np.int64),
                rng.choice(states, detections).astype(np.int64),
            )
        )
    return frames


def perfect_frames(count: int) -> list[Matches]:
    scores = np.linspace(0.9, 0.1, count)
    zeros = np.zeros(1, dtype=np.int64)
    return [Matches(np.ones((1, 1)), np.array([score]), zeros, zeros) for score in scores]


@pytest.mark.parametrize('seed', range(12))
@pytest.mark.parametrize('min_overlap', [0.3, 0.7])
def test_equals_the_rules(seed: int, min_overlap: float) -> None:
    frames = random_frames(seed)
    expected = expected_precision(frames, min_overlap)
    assert 0.05 < expected < 0.95 or min_overlap > 0.5
    assert average_precision(frames, min_overlap) == pytest.approx(expected, abs=1e-12)


def test_perfect_detections() -> None:
    assert average_precision(perfect_frames(200), 0.5) == 1.0
    # KITTI leaves the first of its recall positions out, and has one per object.
    assert average_precision(perfect_frames(5), 0.5) == pytest.approx(4 / 40)
    assert average_precision(perfect_frames(1), 0.5) == 0.0
    for count in (1, 5, 200):
        assert average_precision(perfect_frames(count), 0.5, 'exact') == 1.0


def test_exact_sampling_reads_precision_at_each_recall() -> None:
    # By falling score: right, wrong, right, wrong, wrong, right; a fourth object is missed.
    states = np.zeros(1, dtype=np.int64)
    frames = [
        Matches(np.full((1, 1), float(hit)), np.array([score]), states, states)
        for hit, score in ((1, 0.9), (1, 0.7), (1, 0.4), (0, 0.0))
    ]
    none = np.zeros(0, dtype=np.int64)
    frames += [Matches(np.zeros((1, 0)), np.array([score]), none, states) for score in (0.8, 0.6, 0.5)]
    # Recall to 1/4 at precision 1, to 2/4 at 2/3, to 3/4 at 3/6.
    assert average_precision(frames, 0.5, 'exact') == pytest.approx((10 * 1 + 10 * 2 / 3 + 10 * 1 / 2) / 40)


def test_exact_and_kitti_agree_on_many_objects() -> None:
    frames = random_frames(100, count=400, states=(0,))
    assert average_precision(frames, 0.4) == pytest.approx(average_precision(frames, 0.4, 'exact'), abs=0.02)


def test_ignored_objects_and_other_classes_are_neither_right_nor_wrong() -> None:
    frames = perfect_frames(100)
    for object_state, detection_state in ((IGNORED, COUNTS), (COUNTS, IGNORED), (OTHER, OTHER)):
        extra = Matches(np.ones((1, 1)), np.array([0.95]), np.array([object_state]), np.array([detection_state]))
        # The second leaves one of 101 objects unfound, and with it the last of the 40 positions.
        assert average_precision([*frames, extra], 0.5) >= 39 / 40
    wrong = Matches(np.ones((1, 1)), np.array([0.95]), np.array([OTHER]), np.array([COUNTS]))
    assert average_precision([*frames, wrong], 0.5) == pytest.approx(100 / 101)


def test_nothing_to_find_and_nothing_found() -> None:
    zeros = np.zeros(3, dtype=np.int64)
    assert math.isnan(average_precision([], 0.5))
    assert math.isnan(average_precision([Matches(np.zeros((3, 0)), np.ones(3), zeros[:0], zeros)], 0.5))
    for sampling in ('kitti', 'exact'):
        assert average_precision([Matches(np.zeros((0, 3)), np.ones(0), zeros, zeros[:0])], 0.5, sampling) == 0.0
        assert average_precision([Matches(np.zeros((3, 3)), np.ones(3), zeros, zeros)], 0.5, sampling) == 0.0


def test_an_overlap_must_be_larger_than_the_least() -> None:
    frame = perfect_frames(1)[0]
    exact = Matches(frame.overlaps * 0.5, frame.scores, frame.objects, frame.detections)
    assert average_precision([exact], 0.5, 'exact') == 0.0 and average_precision([exact], 0.499, 'exact') == 1.0


def test_thresholds() -> None:
    scores = np.linspace(1, 0, 401)
    chosen = score_thresholds(scores.tolist(), 401)
    assert len(chosen) == 41 and chosen[-1] == 0.0
    np.testing.assert_allclose(np.diff(chosen[1:]), -1 / 40, atol=3e-3)


def test_unknown_sampling() -> None:
    with pytest.raises(ConfigError, match="sampling is 'exakt'; nearest: 'exact'"):
        average_precision([], 0.5, 'exakt')
