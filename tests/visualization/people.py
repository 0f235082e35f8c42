"""A person of five joints, as a data set describes it."""

from __future__ import annotations

from typing import Any

NAMES = ['head', 'left_hand', 'right_hand', 'left_foot', 'right_foot']
METAINFO: dict[str, Any] = dict(
    keypoint_id2name=dict(enumerate(NAMES)),
    keypoint_colors=[[250, 250, 250], [255, 0, 0], [0, 255, 0], [255, 0, 0], [0, 255, 0]],
    skeleton_links=[(0, 1), (0, 2), (1, 3), (2, 4)],
    skeleton_link_colors=[[51, 153, 255]] * 4,
)
