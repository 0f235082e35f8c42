"""Local graph distillation: important points, their neighbours, and features of the edges between them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ...errors import ConfigError
from ...ops.reduction import weighted_mean
from ...registry import MODELS
from ...utils.checks import check_choice, check_flag, check_integer, check_levels, check_number, check_same_size
from ..base import Batch, Taps
from ..paired import RESIZES, PairedDistiller, TapPair, resize_map, resize_on_images
from .edge_adapter import EDGES, EdgeAdapter
from .graphs import LocalGraph, build_graph
from .importance import IMPORTANCES, checked_importance, importance_function
from .loss import edge_spread, local_graph_loss, normalize_edges
from .neighbours import joint_space
from .point_readers import READERS, PointReader
from .released import RELEASED, released_weights
from .selection import effective_support, reweighting

SPACES = ('feature', 'coordinate', 'both')
LARGEST = 2**20
"""Largest number of points, neighbours or channels; a mistyped one must not ask for all memory."""
CHECK_INTERVAL = 50
"""Iterations between two checks for collapsed edge functions."""
COLLAPSED = 0.01
"""Spread of an edge function's outputs below which it counts as constant; the normalisation starts it at 0.58."""


@MODELS.register_module()
class LocalGraphDistiller(PairedDistiller):
    """Distance between edge features of the teacher's and of the student's local graphs.

    Source: PointDistiller (arXiv 2205.11098, section 3). In each sample the teacher's N most important points are
    selected, with the K nearest points of each. A linear map, BatchNorm and ReLU of every (neighbour, centre) pair, one
    for the teacher and one for the student, both trained, give edge features of equal width. Where both networks have
    equally many channels, the two maps start with equal weights. ``loss_local_graph`` is the squared difference
    (:func:`kd_plugins.distillers.local_graph.local_graph_loss`), weighted by importance, averaged over levels and over
    the samples of all ranks that have points.

    Args:
        student_tap: Tap of the student's features, one tensor per level.
        teacher_tap: Tap of the teacher's features; None is the same path.
        points: Kind of points: ``'grid'`` for feature maps (N, C, H, W), ``'voxel'`` for MMDetection3D's pillars and
            voxels (V, C), ``'point'`` for (N, C, P) as PointNet++ gives them.
        importance: Measure by which the teacher's points are selected and weighted: ``'max'`` of the channels,
            ``'norm'``, the class ``'score'`` of ``scores``, the ``'count'`` of points per voxel, or the dotted path of
            a function from features (n, C) to (n,). None is ``'max'``, or the measure of ``reference``.
        scores: Tap of the teacher's class logits, one tensor per level, for ``importance='score'``.
        num_points: N; a sample with fewer points uses all of them.
        num_neighbours: K, the point itself included; with 1, points are compared alone, without a graph.
        space: Space of the neighbour search: the teacher's ``'feature'`` space, ``'coordinate'``, or ``'both'`` with
            equal shares.
        edge: Input of the edge function: ``'concat'`` of neighbour and centre, or ``'difference'`` of the two with the
            centre.
        channels: C', the number of channels of the edge features.
        pool: Whether the edges of a point are pooled to their maxima before they are compared.
        temperature: Temperature of the weights; None gives all selected points the same weight.
        standardize: Whether importance is divided by its standard deviation before points are weighted, so that a
            temperature means the same for counts, norms and probabilities.
        freeze_teacher_adapter: Whether the teacher's edge function keeps its initial weights. If it is trained, the two
            functions can make the loss small by giving constant outputs; a warning reports that.
        affine: Whether scale and shift of the edge functions' BatchNorm are trained, as in the released code. A smaller
            scale of both makes the loss smaller for any student; ``False`` keeps scale 1 and shift 0.
        resize: For ``'grid'``: interpolation of the student's map to the teacher's size: None (sizes must agree),
            ``'bilinear'``, ``'nearest'`` or ``'area'``.
        reference: Weights of the released code for ``'pointpillars'``, ``'second'``, ``'nuscenes'`` or
            ``'point_rcnn'`` (:data:`kd_plugins.distillers.local_graph.RELEASED`), with levels summed. It replaces
            ``temperature`` and ``standardize``.
        weight, source, key: See :class:`BaseDistiller`.

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
        affine: bool = True,
        resize: str | None = None,
        reference: str | None = None,
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__([TapPair.of('student_tap', student_tap, 'teacher_tap', teacher_tap)], weight, source, key)
        self.points = check_choice(f'{key}.points', points, tuple(READERS))
        self.reference = None if reference is None else check_choice(f'{key}.reference', reference, tuple(RELEASED))
        self.released = None if reference is None else RELEASED[reference]
        default = self.released.importance if self.released else 'max'
        self.importance = default if importance is None else importance
        self.scores = scores
        sizes = {'num_points': (num_points, 256), 'num_neighbours': (num_neighbours, 32), 'channels': (channels, 32)}
        for name, (value, usual) in sizes.items():
            check_integer(f'{key}.{name}', value, 1, f'valid: an integer of at least 1, such as {usual}', LARGEST)
        self.num_points, self.num_neighbours, self.channels = num_points, num_neighbours, channels
        self.space = check_choice(f'{key}.space', space, SPACES)
        self.edge = check_choice(f'{key}.edge', edge, EDGES)
        self.pool = check_flag(f'{key}.pool', pool)
        self.temperature = temperature
        if temperature is not None:
            self.temperature = check_number(f'{key}.temperature', temperature, positive=True)
        self.standardize = check_flag(f'{key}.standardize', standardize)
        self.freeze_teacher_adapter = check_flag(f'{key}.freeze_teacher_adapter', freeze_teacher_adapter)
        self.affine = check_flag(f'{key}.affine', affine)
        self.resize = None if resize is None else check_choice(f'{key}.resize', resize, RESIZES)
        self._check_together()
        self._importance = importance_function(f'{key}.importance', self.importance)
        self.teacher_adapters = nn.ModuleList()
        self.student_adapters = nn.ModuleList()
        self._monitors: dict[str, Tensor] = {}
        self._collapse_reported = False

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

    def teacher_taps(self) -> dict[str, str]:
        """Return the taps of the teacher's features and, where they are used, of its class logits."""
        return {**super().teacher_taps(), **({'scores': self.scores} if self.scores else {})}

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check the shapes and create the edge functions."""
        pair, reader = self.pairs[0], READERS[self.points]
        levels = pair.outputs(student_outputs, teacher_outputs)
        student_levels, teacher_levels = (reader.levels(outputs) for outputs in levels)
        check_levels(f'{self.key}.student_tap', student_levels, teacher_levels, 'levels')
        scores = reader.levels(teacher_outputs['scores']) if self.scores else []
        if self.scores and len(scores) != len(teacher_levels):
            raise ConfigError(
                f"{self.key}.scores: '{self.scores}' gives {len(scores)} tensors for {len(teacher_levels)} levels of "
                f"'{pair.teacher_path}'; tap a layer that runs once per level"
            )
        for level in [*student_levels, *teacher_levels, *scores]:
            if level.ndim != reader.ndim:
                raise ConfigError(
                    f"{self.key}.points is '{self.points}', which reads {reader.shape}, and a layer gives "
                    f'{tuple(level.shape)}; {reader.fix}'
                )
        # One channel of each, since only the channels may differ.
        student_points, teacher_points, score_points = (
            [level[:, 0] for level in levels] for levels in (student_levels, teacher_levels, scores)
        )
        if self.resize is None:
            advice = 'both must have the same points; for maps of other sizes set resize'
            check_same_size(f'{self.key}.student_tap', student_points, teacher_points, advice)
        if scores:
            advice = 'class logits belong to the same points'
            check_same_size(f'{self.key}.scores', teacher_points, score_points, advice)
        # A run that goes on in the same process calls this again.
        self.student_adapters, self.teacher_adapters = nn.ModuleList(), nn.ModuleList()
        for s, t in zip(student_levels, teacher_levels):
            student_adapter, teacher_adapter = (
                EdgeAdapter(x.shape[1], self.channels, self.edge).to(s.device) for x in (s, t)
            )
            if s.shape[1] == t.shape[1]:
                # The loss between a network and its copy then starts at 0, and not between two random projections.
                student_adapter.load_state_dict(teacher_adapter.state_dict())
            self.student_adapters.append(student_adapter)
            self.teacher_adapters.append(teacher_adapter)
        self.teacher_adapters.requires_grad_(not self.freeze_teacher_adapter)
        if not self.affine:
            for adapter in (*self.student_adapters, *self.teacher_adapters):
                adapter.fix_normalization()

    @torch.no_grad()
    def graphs(self, teacher_outputs: Taps, batch: Batch) -> list[list[LocalGraph]]:
        """Return the graphs of every level, which depend on the teacher alone.

        Neighbouring samples with equally many points share one :class:`~kd_plugins.distillers.local_graph.LocalGraph`.
        """
        reader = READERS[self.points](batch, self.key)
        outputs = teacher_outputs['teacher_tap']
        levels = reader.levels(outputs)
        scores = reader.levels(teacher_outputs['scores']) if self.scores else levels
        return [self._graphs_of(reader, x, logits, outputs) for x, logits in zip(levels, scores)]

    def _graphs_of(self, reader: PointReader, x: Tensor, logits: Tensor, outputs: Sequence[Tensor]) -> list[LocalGraph]:
        sizes, features = reader.sizes(x) or [0], reader.rows(x)
        importance = self._importance_of(reader, x, features if logits is x else reader.rows(logits), sizes)
        coordinates = None if self.space == 'feature' else reader.coordinates(x, outputs)
        if self.released is not None and self.released.merged:
            sizes = [sum(sizes)]
        weigh = partial(reweighting, temperature=self.temperature, standardize=self.standardize)
        if self.reference is not None:
            weigh = partial(released_weights, self.reference, num_samples=len(sizes))
        graphs, start = [], 0
        for size, group in groupby(sizes):
            count = len(list(group))
            rows = slice(start, start + count * size)
            space = features[rows].unflatten(0, (count, size))
            if coordinates is not None:
                group_coordinates = coordinates[rows].unflatten(0, (count, size))
                space = group_coordinates if self.space == 'coordinate' else joint_space(space, group_coordinates)
            group_importance = importance[rows].unflatten(0, (count, size))
            graphs.append(build_graph(space, group_importance, self.num_points, self.num_neighbours, weigh, start))
            start = rows.stop
        return graphs

    def _importance_of(self, reader: PointReader, x: Tensor, features: Tensor, sizes: list[int]) -> Tensor:
        if self._importance is None:
            return reader.counts(x)
        # A function named in the config may compare the points of a sample with each other.
        samples = [features] if self.importance in IMPORTANCES else features.split(sizes)
        key = f'{self.key}.importance'
        return torch.cat([checked_importance(key, self._importance, sample) for sample in samples])

    @torch.no_grad()
    def places(self, teacher_outputs: Taps, batch: Batch) -> list[Tensor]:
        """Return the coordinates of the points of all samples, (V, D), of every level, for pictures."""
        reader = READERS[self.points](batch, self.key)
        outputs = teacher_outputs['teacher_tap']
        return [reader.coordinates(x, outputs) for x in reader.levels(outputs)]

    def _edges(self, level: int, student: Tensor, teacher: Tensor, graphs: list[LocalGraph]) -> tuple[Tensor, Tensor]:
        """Return the normalised terms of one level's edges, teacher and student side by side.

        Args:
            level: Index of the level.
            student: Features of the student's points, (V, C).
            teacher: Features of the teacher's points, (V, C).
            graphs: Graphs of the level.
        """
        adapters = self.teacher_adapters[level], self.student_adapters[level]
        selected = torch.cat([graph.centers.flatten() for graph in graphs])
        terms = zip(*(adapter(x, selected) for adapter, x in zip(adapters, (teacher, student))))
        values, centers = (torch.cat(both, dim=1) for both in terms)
        scale, shift = (torch.cat([getattr(adapter, name) for adapter in adapters]) for name in ('scale', 'shift'))
        return normalize_edges(values, centers, graphs, scale, shift)

    def _resized(self, x: Tensor, size: Sequence[int], batch: Batch) -> Tensor:
        """Return a map of the student at the size of the teacher's, to which padding adds nothing."""
        resized, reached = resize_on_images(x, size, self.resize, batch)
        if reached is None:
            return resized
        # A point whose interpolation reads padding alone keeps it, as its graph is that of the teacher.
        return torch.where(reached.view(len(x), 1, *size), resized, resize_map(x, size, self.resize))

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_local_graph``."""
        reader = READERS[self.points](batch, self.key)
        outputs = self.pairs[0].outputs(student_outputs, teacher_outputs)
        student_levels, teacher_levels = (reader.levels(tensors) for tensors in outputs)
        every_graph = self.graphs(teacher_outputs, batch)
        values, present, spreads = [], [], []
        for level, (s, t, graphs) in enumerate(zip(student_levels, teacher_levels, every_graph)):
            edges = self._edges(level, reader.rows(self._resized(s, t.shape[2:], batch)), reader.rows(t), graphs)
            values.append(local_graph_loss(*edges, graphs, self.pool))
            present.append(torch.cat([graph.weights.detach().sum(dim=1).sign() for graph in graphs]))
            spreads.append(edge_spread(*edges, graphs))
        self._update_monitors([graph for graphs in every_graph for graph in graphs], torch.stack(spreads))
        if batch.iteration % CHECK_INTERVAL == 0 and not self._collapse_reported:
            self._check_collapse(spreads, teacher_levels)
        factor = len(values) if self.released is not None else 1
        return {'loss_local_graph': factor * weighted_mean(torch.stack(values), torch.stack(present), eps=1.0)}

    @torch.no_grad()
    def _update_monitors(self, graphs: list[LocalGraph], spreads: Tensor) -> None:
        support = torch.cat([effective_support(graph.weights) for graph in graphs])
        selected = sum(graph.centers.numel() for graph in graphs) / max(len(support), 1)
        teacher_spread, student_spread = spreads.mean(dim=0)
        self._monitors = {
            'selected_points': support.new_full((), selected),
            'effective_points': support.mean(),
            'teacher_spread': teacher_spread,
            'student_spread': student_spread,
        }

    def monitors(self) -> dict[str, Tensor]:
        """Return values of the last batch to log, each of shape ().

        ``selected_points`` and ``effective_points`` are means over samples and levels: the number of selected points,
        and the number of points that share the weight. The spreads are the standard deviations of the outputs of both
        edge functions.
        """
        return self._monitors

    def _check_collapse(self, spreads: list[Tensor], levels: list[Tensor]) -> None:
        """Warn once if both edge functions give constant outputs for features that are not constant."""
        vary = [(x.amax() - x.amin()) > 1e-6 * x.abs().amax() if x.numel() else x.new_zeros(()) for x in levels]
        collapsed = [(spread.amax() < COLLAPSED) * varies for spread, varies in zip(spreads, vary)]
        flags = torch.stack(collapsed).tolist()
        if any(flags):
            self._collapse_reported = True
            print_log(
                f'{self.key}: at level {flags.index(max(flags))} both edge functions give nearly the same output for '
                'every edge, so their distance is small without the student having learned anything; set '
                f'{"freeze_teacher_adapter=True" if not self.affine else "affine=False"} and start a new training',
                logger='current',
                level=logging.WARNING,
            )
