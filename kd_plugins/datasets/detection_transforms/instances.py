"""Selection of the annotated instances of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FIELDS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks')
"""Keys of MMDetection's pipelines with one entry for each instance."""


def keep_instances(results: dict[str, Any], keep: NDArray[np.bool_]) -> None:
    """Drop the boxes, labels, masks and flags of some instances, in place.

    Args:
        results: Item of a pipeline.
        keep: Whether each instance stays, shape (N,).
    """
    for name in FIELDS:
        if results.get(name) is not None:
            results[name] = results[name][np.flatnonzero(keep)]
