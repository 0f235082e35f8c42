"""Transforms of a pipeline for the tests of views: one of colours, and others that a view cannot take."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from kd_plugins.registry import TRANSFORMS

Results = dict[str, Any]


@TRANSFORMS.register_module(force=True)
class Brighter:
    """A share of the images gets brighter by 50; ``seen`` keeps what comes in."""

    seen: list[Any] = []

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def __call__(self, results: Results) -> Results:
        self.seen.append(results['img'].copy())
        chosen = np.random.rand() < self.share
        return {**results, 'img': results['img'].astype(np.float32) + 50 if chosen else results['img']}


@TRANSFORMS.register_module(force=True)
class Flipped:
    """A flip of a part of the images, which leaves the labels as they are."""

    def __call__(self, results: Results) -> Results:
        return {**results, 'img': results['img'][:, ::-1] if random.random() < 0.5 else results['img']}


@TRANSFORMS.register_module(force=True)
class FlippedBoxes:
    """A change of the boxes alone."""

    def __call__(self, results: Results) -> Results:
        return {**results, 'gt_bboxes': results['gt_bboxes'] + 1}


@TRANSFORMS.register_module(force=True)
class Halved:
    """Every second pixel."""

    def __call__(self, results: Results) -> Results:
        return {**results, 'img': results['img'][::2, ::2]}


@TRANSFORMS.register_module(force=True)
class Mixing:
    """A mixture with other images, which a view does not have."""

    def __call__(self, results: Results) -> Results:
        return {**results, 'img': results['mix_results'][0]['img']}


class Shuffled:
    """A change with a random generator of its own."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)

    def __call__(self, results: Results) -> Results:
        return {**results, 'img': results['img'] + self.generator.integers(0, 9, dtype=np.uint8)}
