"""Local graph distillation (PointDistiller, arXiv 2205.11098): points, neighbours and edges.

:class:`LocalGraphDistiller` reads points (``point_readers``), selects and weights the important ones (``importance``,
``selection``, ``released``), finds their neighbours (``neighbours``, ``graphs``), and compares edge features
(``edge_adapter``, ``edges``, ``loss``).
"""

from .distiller import LocalGraphDistiller
from .edge_adapter import EdgeAdapter
from .edges import edge_gap, edge_outputs, edge_statistics, neighbour_sum, pooled_gap
from .graphs import LocalGraph, build_graph
from .loss import edge_spread, local_graph_loss, normalize_edges
from .neighbours import joint_space, nearest_neighbours
from .released import RELEASED, Released, released_weights
from .selection import channel_max, class_score, effective_support, feature_norm, reweighting, top_points

__all__ = [
    'RELEASED',
    'EdgeAdapter',
    'LocalGraph',
    'LocalGraphDistiller',
    'Released',
    'build_graph',
    'channel_max',
    'class_score',
    'edge_gap',
    'edge_outputs',
    'edge_spread',
    'edge_statistics',
    'effective_support',
    'feature_norm',
    'joint_space',
    'local_graph_loss',
    'nearest_neighbours',
    'neighbour_sum',
    'normalize_edges',
    'pooled_gap',
    'released_weights',
    'reweighting',
    'top_points',
]
