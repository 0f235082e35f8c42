"""KITTI's average precision over 40 recall positions, from overlaps, scores and states.

The rules follow the benchmark's development kit (``evaluate_object.cpp``): matching of objects and detections, and the
scores at which precision is read. The states tell which of them count at a level of difficulty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..utils.checks import check_choice

COUNTS, IGNORED, OTHER = 0, 1, -1
"""States of an object or a detection: it counts; it may be matched but is neither right nor wrong; other class."""
POSITIONS = 40
"""Number of recall positions."""
SAMPLINGS = ('kitti', 'exact')

Floats = NDArray[np.float64]
States = NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """Objects and detections of one class in one frame.

    Attributes:
        overlaps: Overlap of each detection with each object, shape (D, G).
        scores: Scores of the detections, shape (D,).
        objects: State of each object, shape (G,).
        detections: State of each detection, shape (D,).
    """

    overlaps: Floats
    scores: Floats
    objects: States
    detections: States

    def relevant(self) -> Matches:
        """Return the matches without objects and detections of other classes."""
        rows, columns = self.detections != OTHER, self.objects != OTHER
        return Matches(self.overlaps[rows][:, columns], self.scores[rows], self.objects[columns], self.detections[rows])


def found_scores(frame: Matches, min_overlap: float) -> list[float]:
    """Return the score of each detected object. Each object takes the free detection with the highest score.

    Args:
        frame: Objects and detections in the order of the files; earlier objects choose first.
        min_overlap: Overlap that a match must exceed.
    """
    free = np.ones(len(frame.scores), dtype=bool)
    scores = []
    for column, state in enumerate(frame.objects):
        candidates = np.flatnonzero(free & (frame.overlaps[:, column] > min_overlap))
        if not len(candidates):
            continue
        chosen = candidates[np.argmax(frame.scores[candidates])]
        free[chosen] = False
        if state == COUNTS and frame.detections[chosen] == COUNTS:
            scores.append(float(frame.scores[chosen]))
    return scores


def count(frame: Matches, min_overlap: float, thresholds: Floats) -> NDArray[np.int64]:
    """Count true positives, false positives and false negatives above each score.

    An object takes the detection with the largest overlap; it takes an ignored detection only if there is no other.

    Args:
        frame: Objects and detections.
        min_overlap: Overlap that a match must exceed.
        thresholds: Lowest score of a detection, shape (T,).

    Returns:
        True positives, false positives and false negatives, shape (T, 3).
    """
    counted = frame.detections == COUNTS
    free = frame.scores[None] >= thresholds[:, None]
    right = np.zeros(len(thresholds), dtype=np.int64)
    missed = np.zeros_like(right)
    rows = np.arange(len(thresholds))
    if not len(frame.scores):
        missed += int((frame.objects == COUNTS).sum())
        return np.stack([right, np.zeros_like(right), missed], axis=1)
    for column, state in enumerate(frame.objects):
        overlap = frame.overlaps[:, column]
        candidates = free & (overlap > min_overlap)[None]
        best = np.where(candidates & counted, overlap, -np.inf).argmax(axis=1)
        is_counted = (candidates & counted).any(axis=1)
        chosen = np.where(is_counted, best, candidates.argmax(axis=1))
        detected = candidates.any(axis=1)
        free[rows[detected], chosen[detected]] = False
        if state == COUNTS:
            right += is_counted
            missed += ~detected
    wrong = (free & counted).sum(axis=1)
    return np.stack([right, wrong, missed], axis=1)


def score_thresholds(scores: Sequence[float], num_objects: int) -> Floats:
    """Return the scores at which recall is nearest to 0, 1/40, ..., 1.

    Args:
        scores: Scores of the detected objects, in any order.
        num_objects: Number of objects that count.

    Returns:
        At most one score per object, descending. As in KITTI, there are fewer than 41 scores if there are fewer objects
        or if the recall stays below 1.

    >>> score_thresholds([0.9, 0.2, 0.5], 3).tolist()
    [0.9, 0.5, 0.2]
    """
    ordered = sorted(scores, reverse=True)
    chosen, target = [], 0.0
    for index, score in enumerate(ordered):
        last = index == len(ordered) - 1
        recall, following = (index + 1) / num_objects, (index + 2) / num_objects
        # The next score is nearer to the target recall than this one.
        if not last and following - target < target - recall:
            continue
        chosen.append(score)
        target += 1 / POSITIONS
    return np.array(chosen, dtype=np.float64)


def average_precision(frames: Sequence[Matches], min_overlap: float, sampling: str = 'kitti') -> float:
    r"""Return the mean of the interpolated precision over 40 recall positions.

    .. math::
        \mathrm{AP} = \frac{1}{40} \sum_{i=1}^{40} \max_{j \ge i} \frac{tp_j}{tp_j + fp_j}

    Args:
        frames: Matches of one class at one level of difficulty, frame by frame.
        min_overlap: Overlap that a match must exceed.
        sampling: ``'kitti'`` reads precision at the scores of :func:`score_thresholds`, as the benchmark does. With
            G < 41 objects it has at most G scores and leaves the first out, so that perfect detections give
            (G - 1) / 40. ``'exact'`` reads precision at each of the 40 recalls, which small data sets need.

    Returns:
        In [0, 1]; NaN if no object counts.

    Raises:
        ConfigError: If there is no such sampling.
    """
    check_choice('sampling', sampling, SAMPLINGS)
    frames = [frame.relevant() for frame in frames]
    num_objects = sum(int((frame.objects == COUNTS).sum()) for frame in frames)
    if not num_objects:
        return float('nan')
    scores = [score for frame in frames for score in found_scores(frame, min_overlap)]
    if not scores:
        return 0.0
    if sampling == 'kitti':
        thresholds = score_thresholds(scores, num_objects)
    else:
        thresholds = np.unique(scores)[::-1]
    counts = np.sum([count(frame, min_overlap, thresholds) for frame in frames], axis=0)
    right, wrong, missed = counts.T
    precision = right / np.maximum(right + wrong, 1)
    best_from = np.maximum.accumulate(precision[::-1])[::-1]
    if sampling == 'kitti':
        return float(best_from[1 : POSITIONS + 1].sum() / POSITIONS)
    # Recall may fall with the score threshold, since matching by overlap may change an earlier match.
    recall = np.maximum.accumulate(right / np.maximum(right + missed, 1))
    first = np.searchsorted(recall, np.arange(1, POSITIONS + 1) / POSITIONS - 1e-9)
    return float(np.append(best_from, 0.0)[first].sum() / POSITIONS)
