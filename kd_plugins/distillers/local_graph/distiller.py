"""Distil the local geometry of features: important points, their neighbours, and what is computed on the edges."""

from __future__ import annotations

import logging
from functools import partial
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from ...errors import ConfigError, check_known
from ...ops.reduction import weighted_mean
from ...registry import MODELS
from ...utils.checks import check_levels, check_number, check_same_size
from ..base import BaseDistiller, Batch, Taps
from ..stage_localization import check_count
from .edge_adapter import EDGES, EdgeAdapter
from .graphs import LocalGraph, build_graph
from .importance import IMPORTANCES, checked_importance, importance_function
from .loss import edge_spread, local_graph_loss, normalize_edges
from .neighbours import joint_space
from .point_readers import READERS, PointReader
from .released import RELEASED, released_weights
from .selection import effective_support, reweighting

SPACES = ('feature', 'coordinate', 'both')
RESIZES = ('bilinear', 'nearest', 'area')
CHECK_INTERVAL = 50
COLLAPSED = 0.01
"""Spread of an edge function's outputs; 0.58 at the start, from the normalisation."""


@MODELS.register_module()
class LocalGraphDistiller(BaseDistiller):
    """Distance between what two edge functions make of the teacher's and of the student's local graphs.

    Source: PointDistiller (arXiv 2205.11098, section 3). In each sample the teacher's N most important points are
    selected, with the K nearest points of each. A linear map, BatchNorm and ReLU of every (neighbour, centre) pair, one
    for the teacher and one for the student, both trained, give edge features of equal width; where both networks have
    equally many channels, the two start alike. ``loss_local_graph`` is the squared difference
    (:func:`kd_plugins.distillers.local_graph.local_graph_loss`), weighted by importance, averaged over levels and over the
    samples of all ranks that have points.

    Args:
        student_tap: Tap of the student's features, one tensor per level.
        teacher_tap: Tap of the one who teaches; ``None`` is the same path.
        points: What a point is: ``'grid'`` for feature maps (N, C, H, W), ``'voxel'`` for MMDetection3D's pillars and
            voxels (V, C), ``'point'`` for (N, C, P) as PointNet++ gives them.
        importance: What the teacher's points are selected and weighted by: ``'max'`` of the channels, ``'norm'``, the
            class ``'score'`` of ``scores``, the ``'count'`` of points per voxel, or the dotted path of a function from
            features (n, C) to (n,). ``None`` is ``'max'``, or what ``reference`` used.
        scores: Tap of the teacher's class logits, one tensor per level, for ``importance='score'``.
        num_points: N, at most what a sample has.
        num_neighbours: K, the point itself among them; with 1, points are compared alone, without a graph.
        space: Where neighbours are near: the teacher's ``'feature'`` space, ``'coordinate'``, or ``'both'`` with equal
            shares.
        edge: ``'concat'`` of neighbour and centre, or ``'difference'`` of the two beside the centre.
        channels: C', of the edge features.
        pool: Whether the edges of a point are pooled to their maxima before they are compared.
        temperature: Of the weights; ``None`` weighs all selected points alike.
        standardize: Whether importance is divided by its standard deviation before points are weighted, so that a
            temperature means the same for counts, norms and probabilities.
        freeze_teacher_adapter: Whether the teacher's edge function stays as it was drawn. Where it is trained, the two
            can make the loss small by making their outputs constant, which is reported when it happens.
        resize: For ``'grid'``: how the student's map takes the teacher's size: ``None`` (sizes must agree),
            ``'bilinear'``, ``'nearest'`` or ``'area'``.
        reference: Weights as the released code has them for ``'pointpillars'``, ``'second'``, ``'nuscenes'`` or
            ``'point_rcnn'`` (:data:`kd_plugins.distillers.local_graph.RELEASED`), and levels summed. ``temperature`` and
            ``standardize`` then have no part.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_local_graph',)

    def __init__(
        self,
        student_tap: str = 'neck.fpn_convs.*',
        teacher_tap: str | None = None,
        points: str = 'grid',
        importance: str | None = None,
        scores: str | None = None,
        num_points: int = 256,
        num_neighbours: int = 32,
        space: str = 'feature',
        edge: str = 'concat',
        channels: int = 32,
        pool: bool = False,
        temperature: float | None = 1.0,
        standardize: bool = True,
        freeze_teacher_adapter: bool = False,
        resize: str | None = None,
        reference: str | None = None,
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
    ) -> None:
        super().__init__(weight, source)
        self.student_tap = student_tap
        self.teacher_tap = teacher_tap or student_tap
        self.points = check_known(f'{self.key}.points', points, tuple(READERS))
        if reference is not None:
            check_known(f'{self.key}.reference', reference, tuple(RELEASED))
        self.released = RELEASED[reference] if reference else None
        self.reference = reference
        self.importance = importance or (self.released.importance if self.released else 'max')
        self.scores = scores
        self.num_points = self._count('num_points', num_points, 256)
        self.num_neighbours = self._count('num_neighbours', num_neighbours, 32)
        self.channels = self._count('channels', channels, 32)
        self.space = check_known(f'{self.key}.space', space, SPACES)
        self.edge = check_known(f'{self.key}.edge', edge, EDGES)
        self.pool = self._flag('pool', pool)
        self.temperature = temperature
        if temperature is not None:
            self.temperature = check_number(f'{self.key}.temperature', temperature, positive=True)
        self.standardize = self._flag('standardize', standardize)
        self.freeze_teacher_adapter = self._flag('freeze_teacher_adapter', freeze_teacher_adapter)
        self.resize = None if resize is None else check_known(f'{self.key}.resize', resize, RESIZES)
        self._check_together()
        self._importance = importance_function(f'{self.key}.importance', self.importance)
        self.teacher_adapters = nn.ModuleList()
        self.student_adapters = nn.ModuleList()
        self._monitors: dict[str, Tensor] = {}
        self._said = False

    def _count(self, name: str, value: int, default: int) -> int:
        advice = f'valid: an integer of at least 1, such as {default}'
        checked = check_count(f'{self.key}.{name}', value, 1, advice)
        if checked is None:
            raise ConfigError(f'{self.key}.{name} is None; {advice}')
        return checked

    def _flag(self, name: str, value: bool) -> bool:
        if not isinstance(value, bool):
            raise ConfigError(f'{self.key}.{name} is {value!r}; valid: True, False')
        return value

    def _check_together(self) -> None:
        if (self.importance == 'score') != (self.scores is not None):
            raise ConfigError(
                f'{self.key}.scores is {self.scores!r} with importance={self.importance!r}; set both, '
                "importance='score' and scores to the layer that gives the class logits, such as 'bbox_head.gfl_cls', "
                'or neither'
            )
        if self.importance == 'count' and self.points != 'voxel':
            raise ConfigError(
                f"{self.key}.importance is 'count', which only voxels have, with points='{self.points}'; nearest: 'max'"
            )
        if self.resize is not None and self.points != 'grid':
            raise ConfigError(
                f"{self.key}.resize is '{self.resize}' with points='{self.points}'; only maps can be resized: use None"
            )
        if self.released is not None and (self.temperature != 1.0 or not self.standardize):
            raise ConfigError(
                f"{self.key}.reference is '{self.reference}', which has its own weights; leave temperature and "
                'standardize out'
            )

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the student's features."""
        return {'student_tap': self.student_tap}

    def teacher_taps(self) -> dict[str, str]:
        """Return the taps of the features that teach and, where they are used, of the class logits."""
        return {'teacher_tap': self.teacher_tap, **({'scores': self.scores} if self.scores else {})}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself."""
        if teacher is student and self.student_tap == self.teacher_tap:
            raise ConfigError(
                f"{self.key}: '{self.student_tap}' would teach itself; give a teacher, for example "
                "teacher=dict(type='kd_plugins.EMATeacher'), or the path of a deeper layer in 'teacher_tap'"
            )

    def initialize(self, student: Taps, teacher: Taps) -> None:
        """Check the shapes and make the edge functions."""
        reader = READERS[self.points]
        ours, theirs = reader.levels(student['student_tap']), reader.levels(teacher['teacher_tap'])
        check_levels(f'{self.key}.student_tap', ours, theirs, 'levels')
        scores = reader.levels(teacher['scores']) if self.scores else []
        if self.scores and len(scores) != len(theirs):
            raise ConfigError(
                f"{self.key}.scores: '{self.scores}' gives {len(scores)} tensors for {len(theirs)} levels of "
                f"'{self.teacher_tap}'; tap a layer that runs once per level"
            )
        for level in [*ours, *theirs, *scores]:
            if level.ndim != reader.ndim:
                raise ConfigError(
                    f"{self.key}.points is '{self.points}', which reads {reader.shape}, and a layer gives "
                    f'{tuple(level.shape)}; {reader.fix}'
                )
        # All but the channels must agree.
        student_places, places, score_places = ([x[:, 0] for x in levels] for levels in (ours, theirs, scores))
        if self.resize is None:
            advice = 'both must have the same points; for maps of other sizes set resize'
            check_same_size(f'{self.key}.student_tap', student_places, places, advice)
        if scores:
            check_same_size(f'{self.key}.scores', places, score_places, 'class logits belong to the same points')
        for s, t in zip(ours, theirs):
            mine, other = (EdgeAdapter(x.shape[1], self.channels, self.edge).to(s.device) for x in (s, t))
            if s.shape[1] == t.shape[1]:
                # A copy of a network then begins with nothing to learn from it, and not with two random projections.
                mine.load_state_dict(other.state_dict())
            self.student_adapters.append(mine)
            self.teacher_adapters.append(other)
        self.teacher_adapters.requires_grad_(not self.freeze_teacher_adapter)

    @torch.no_grad()
    def graphs(self, teacher: Taps, batch: Batch) -> list[list[LocalGraph]]:
        """Return the graphs of every level, which the teacher alone decides.

        Neighbouring samples with equally many points share one :class:`~kd_plugins.distillers.local_graph.LocalGraph`.
        """
        reader = READERS[self.points](batch, self.key)
        levels = reader.levels(teacher['teacher_tap'])
        scores = reader.levels(teacher['scores']) if self.scores else levels
        return [self._graphs_of(reader, x, logits, teacher) for x, logits in zip(levels, scores)]

    def _graphs_of(self, reader: PointReader, x: Tensor, logits: Tensor, teacher: Taps) -> list[LocalGraph]:
        sizes, features = reader.sizes(x) or [0], reader.rows(x)
        importance = self._importance_of(reader, x, features if logits is x else reader.rows(logits), sizes)
        places = None if self.space == 'feature' else reader.coordinates(x, teacher['teacher_tap'])
        if self.released is not None and self.released.merged:
            sizes = [sum(sizes)]
        weigh = partial(reweighting, temperature=self.temperature, standardize=self.standardize)
        if self.reference is not None:
            weigh = partial(released_weights, self.reference, num_samples=len(sizes))
        found, start = [], 0
        for size, group in groupby(sizes):
            count = len(list(group))
            rows = slice(start, start + count * size)
            space = features[rows].unflatten(0, (count, size))
            if places is not None:
                where = places[rows].unflatten(0, (count, size))
                space = where if self.space == 'coordinate' else joint_space(space, where)
            numbers = importance[rows].unflatten(0, (count, size))
            found.append(build_graph(space, numbers, self.num_points, self.num_neighbours, weigh, start))
            start = rows.stop
        return found

    def _importance_of(self, reader: PointReader, x: Tensor, features: Tensor, sizes: list[int]) -> Tensor:
        if self._importance is None:
            return reader.counts(x)
        # What a config names itself may compare the points of a sample.
        samples = [features] if self.importance in IMPORTANCES else features.split(sizes)
        key = f'{self.key}.importance'
        return torch.cat([checked_importance(key, self._importance, sample) for sample in samples])

    @torch.no_grad()
    def places(self, teacher: Taps, batch: Batch) -> list[Tensor]:
        """Return the coordinates of the points of all samples, (V, D), of every level, for pictures."""
        reader = READERS[self.points](batch, self.key)
        tensors = teacher['teacher_tap']
        return [reader.coordinates(x, tensors) for x in reader.levels(tensors)]

    def _resized(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.resize is None or student.shape[2:] == teacher.shape[2:]:
            return student
        corners = False if self.resize == 'bilinear' else None
        return F.interpolate(student, teacher.shape[2:], mode=self.resize, align_corners=corners)

    def _edges(self, level: int, student: Tensor, teacher: Tensor, graphs: list[LocalGraph]) -> tuple[Tensor, Tensor]:
        """Return the normalised terms of one level's edges, teacher and student side by side."""
        pair = self.teacher_adapters[level], self.student_adapters[level]
        selected = torch.cat([graph.centers.flatten() for graph in graphs])
        terms = zip(*(adapter(x, selected) for adapter, x in zip(pair, (teacher, student))))
        values, centers = (torch.cat(both, dim=1) for both in terms)
        scale, shift = (torch.cat([getattr(adapter, name) for adapter in pair]) for name in ('scale', 'shift'))
        return normalize_edges(values, centers, graphs, scale, shift)

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_local_graph``."""
        reader = READERS[self.points](batch, self.key)
        ours, theirs = reader.levels(student['student_tap']), reader.levels(teacher['teacher_tap'])
        every_graph = self.graphs(teacher, batch)
        values, present, spreads = [], [], []
        for level, (s, t, graphs) in enumerate(zip(ours, theirs, every_graph)):
            edges = self._edges(level, reader.rows(self._resized(s, t)), reader.rows(t), graphs)
            values.append(local_graph_loss(*edges, graphs, self.pool))
            present.append(torch.cat([graph.weights.detach().sum(dim=1).sign() for graph in graphs]))
            spreads.append(edge_spread(*edges, graphs))
        self._watch([graph for graphs in every_graph for graph in graphs], torch.stack(spreads))
        if batch.iteration % CHECK_INTERVAL == 0 and not self._said:
            self._check_collapse(spreads, theirs)
        factor = len(values) if self.released is not None else 1
        return {'loss_local_graph': factor * weighted_mean(torch.stack(values), torch.stack(present), eps=1.0)}

    @torch.no_grad()
    def _watch(self, graphs: list[LocalGraph], spreads: Tensor) -> None:
        support = torch.cat([effective_support(graph.weights) for graph in graphs])
        selected = sum(graph.centers.numel() for graph in graphs) / max(len(support), 1)
        teacher, student = spreads.mean(dim=0)
        self._monitors = {
            'selected_points': support.new_full((), selected),
            'effective_points': support.mean(),
            'teacher_spread': teacher,
            'student_spread': student,
        }

    def monitors(self) -> dict[str, Tensor]:
        """Return what the last batch showed, each of shape ().

        ``selected_points`` and ``effective_points`` are means over samples and levels: how many points were selected,
        and how many of them share the weight. The spreads are the standard deviations of both edge functions' outputs.
        """
        return self._monitors

    def _check_collapse(self, spreads: list[Tensor], levels: list[Tensor]) -> None:
        """Say once that both edge functions give constants for features that are not constant."""
        vary = [(x.amax() - x.amin()) > 1e-6 * x.abs().amax() if x.numel() else x.new_zeros(()) for x in levels]
        flags = torch.stack([(spread.amax() < COLLAPSED) * varies for spread, varies in zip(spreads, vary)]).tolist()
        if any(flags):
            self._said = True
            print_log(
                f'{self.key}: at level {flags.index(max(flags))} both edge functions give nearly the same output for '
                'every edge, so their distance is small without the student having learned anything; set '
                'freeze_teacher_adapter=True and begin anew',
                logger='current',
                level=logging.WARNING,
            )
