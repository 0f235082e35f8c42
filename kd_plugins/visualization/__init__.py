"""Pictures of predictions, graphs and distributions; matplotlib is imported when one is drawn."""

from .graph import GraphPicture, draw_graph, draw_graph_bev, picture_of, voxel_centers
from .keypoint_figure import draw_keypoints
from .keypoints import KeypointComparison, compare_keypoints, keypoint_divergence
from .level_predictions import Panel, draw_levels, level_panels, level_predictions, load_heads, mean_dice
from .pose import Pose, read_pose
from .refinement import best_queries, draw_refinement, pixel_corners, record_refinement

__all__ = [
    'GraphPicture',
    'KeypointComparison',
    'Panel',
    'Pose',
    'best_queries',
    'compare_keypoints',
    'draw_graph',
    'draw_graph_bev',
    'draw_keypoints',
    'draw_levels',
    'draw_refinement',
    'keypoint_divergence',
    'level_panels',
    'level_predictions',
    'load_heads',
    'mean_dice',
    'picture_of',
    'pixel_corners',
    'read_pose',
    'record_refinement',
    'voxel_centers',
]
