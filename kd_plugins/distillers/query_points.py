"""Queries of the DETR family: what a decoder reads, queries at random places, and predictions at given queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..utils.head_types import is_a
from .base import Taps

Points = dict[str, Tensor]
"""Arguments of a detector's ``forward_decoder`` that say where it looks, name to tensor (N, Q, ...)."""

_DENSE = {'memory': 'key', 'memory_mask': 'key_padding_mask', 'memory_pos': 'key_pos'}
_DEFORMABLE = {
    'memory': 'value',
    'memory_mask': 'key_padding_mask',
    'spatial_shapes': 'spatial_shapes',
    'level_start_index': 'level_start_index',
    'valid_ratios': 'valid_ratios',
}
_NATIVE = {'memory': 'value', 'memory_mask': 'key_padding_mask', 'valid_ratios': 'valid_ratios'}
_MAPS = 'maps'


@dataclass(frozen=True)
class QueryForm:
    """Names of what the decoder of one kind of detector reads, and the kind of its queries.

    Attributes:
        detector: Name of the class.
        memory: Argument of ``forward_decoder`` to that of the decoder's call: the encoder's output and what belongs
            to it.
        points: Names of the arguments that are the queries, the same for both.
        anchors: Coordinates of a query's place: 4 for boxes, 2 for points, 0 for queries without a place.
        two_stage: Whether a query's content comes from its box.
        maps: Path of the module whose outputs are the maps of the encoder, where the decoder gets no tensor with their
            shapes. The content of a query is then the encoder's token at its box.
    """

    detector: str
    memory: Mapping[str, str]
    points: tuple[str, ...]
    anchors: int = 0
    two_stage: bool = False
    maps: str | None = None

    @classmethod
    def of(cls, model: Any, where: str) -> QueryForm:
        """Return the form of a detector.

        Args:
            model: The network.
            where: Config key and role of the network, for the error sentence.

        Raises:
            ConfigError: If it is no such detector.
        """
        if not any(is_a(model, name) for name in ('DDQDETR', 'GroundingDINO')):
            if is_a(model, 'HybridDETR'):
                return cls('DFINE', _NATIVE, ('query', 'reference_points'), 4, maps='encoder')
            if is_a(model, 'DINO'):
                return cls('DINO', _DEFORMABLE, ('query', 'reference_points'), 4)
            if is_a(model, 'DeformableDETR'):
                stages = bool(model.as_two_stage)
                points = ('query', 'query_pos', 'reference_points')
                return cls('DeformableDETR', _DEFORMABLE, points, 4 if stages else 2, stages)
            if is_a(model, 'DABDETR'):
                return cls('DABDETR', _DENSE, ('query', 'query_pos'), int(model.decoder.query_dim))
            for name in ('ConditionalDETR', 'DETR'):
                if is_a(model, name):
                    return cls(name, _DENSE, ('query', 'query_pos'))
        raise ConfigError(
            f'{where} is {type(model).__name__}; valid: DETR, ConditionalDETR, DABDETR, DeformableDETR, DINO, and '
            'DFINE, RTDETR, FDRDABDETR, FDRDeformableDETR and FDRDINO of this package; for other detectors there is '
            'FeatureDistiller'
        )

    def taps(self, own_queries: bool) -> dict[str, str]:
        """Return the taps of what the decoder reads.

        Args:
            own_queries: Whether the queries are read as well.
        """
        names = {**self.memory, **({name: name for name in self.points} if own_queries else {})}
        taps = {alias: f'decoder:in.{argument}' for alias, argument in names.items()}
        return taps if self.maps is None else {**taps, _MAPS: self.maps}

    def decoded(self, model: Any, outputs: Taps, points: Points) -> dict[str, Any]:
        """Return what a detector's head reads of given queries, with the encoder's output that its taps recorded.

        Args:
            model: The detector.
            outputs: Outputs of its :meth:`taps`.
            points: The queries.
        """
        memory: dict[str, Any] = {name: _given(outputs, name) for name in self.memory}
        if self.maps is not None:
            memory['shapes'] = _shapes(outputs)
        return model.forward_decoder(**memory, **points)

    def predictions(self, model: Any, outputs: Taps, points: Points) -> tuple[Tensor, Tensor]:
        """Return what a detector predicts at given queries, with the encoder's output that its taps recorded.

        Args:
            model: The detector.
            outputs: Outputs of its :meth:`taps`.
            points: The queries.

        Returns:
            Class logits (L, N, Q, C) and boxes (cx, cy, w, h) relative to the image, (L, N, Q, 4), of all L layers.
        """
        scores, boxes = model.bbox_head(**self.decoded(model, outputs, points))
        return scores, boxes

    @torch.no_grad()
    def content_at(self, model: Any, outputs: Taps, boxes: Tensor) -> Tensor:
        """Return the content of queries at given boxes in a detector whose encoder gives it, (N, Q, C).

        It is the token at the centre of the box, of the level where the detector scores it highest. So the detector
        selects its own queries among all tokens.

        Args:
            model: The detector.
            outputs: Outputs of its :meth:`taps`.
            boxes: Boxes (cx, cy, w, h) relative to the image, (N, Q, 4).
        """
        memory, ratios = outputs['memory'][0], _given(outputs, 'valid_ratios')
        cells, start = [], 0
        for level, (height, width) in enumerate(_shapes(outputs)):
            centers = boxes[..., :2] if ratios is None else boxes[..., :2] * ratios[:, level, None]
            column = (centers[..., 0] * width).long().clamp(min=0, max=width - 1)
            row = (centers[..., 1] * height).long().clamp(min=0, max=height - 1)
            cells.append(start + row * width + column)
            start += height * width
        positions = torch.stack(cells, dim=-1)  # (N, Q, levels)
        index = positions.flatten(1)[..., None].expand(-1, -1, memory.shape[-1])
        tokens = model.memory_trans_norm(model.memory_trans_fc(memory.gather(1, index))).unflatten(
            1, positions.shape[1:]
        )
        scores = model.bbox_head.cls_branches[model.decoder.num_layers](tokens).amax(dim=-1)
        best = scores.argmax(dim=-1)[..., None, None].expand(-1, -1, 1, tokens.shape[-1])
        return tokens.gather(2, best).squeeze(2)

    def placed(self, model: Any, own: Points, boxes: Tensor, outputs: Taps | None = None) -> Points:
        """Return queries at given places, with the content of a detector's own queries, one after the other.

        Args:
            model: The detector; where :attr:`two_stage` is true, its layers give the content of each box.
            own: Its own queries.
            boxes: Boxes (cx, cy, w, h) relative to the image, above 0 and below 1, (N, Q, 4).
            outputs: Outputs of its :meth:`taps`; where :attr:`maps` is set, they give the content of each box.
        """
        if self.maps is not None and outputs is not None:
            return {'query': self.content_at(model, outputs, boxes), 'reference_points': boxes}
        if self.two_stage:
            embedded = model.get_proposal_pos_embed(boxes.logit())
            position, content = model.pos_trans_norm(model.pos_trans_fc(embedded)).chunk(2, dim=-1)
            return {'query': content, 'query_pos': position, 'reference_points': boxes}
        rows = torch.arange(boxes.shape[1], device=boxes.device) % own['query'].shape[1]
        points = {name: tensor[:, rows] for name, tensor in own.items()}
        places = boxes[..., : self.anchors]
        # The anchors of DAB-DETR are those before the sigmoid.
        points.update({'query_pos': places.logit()} if self.detector == 'DABDETR' else {'reference_points': places})
        return points


def _given(outputs: Taps, name: str) -> Tensor | None:
    """Return a tensor of the taps, None for an argument that was None: no image of the batch is padded."""
    tensor = outputs[name][0]
    return tensor if tensor.numel() else None


def _shapes(outputs: Taps) -> list[tuple[int, int]]:
    """Return height and width of each map of the encoder."""
    return [(maps.shape[2], maps.shape[3]) for maps in outputs[_MAPS]]


def random_boxes(images: int, number: int, generator: torch.Generator, released: bool = False) -> Tensor:
    """Return random boxes (cx, cy, w, h) relative to the image, shape (N, Q, 4).

    Args:
        images: Number of images N.
        number: Number of boxes Q of each image.
        generator: Draws them, on its device.
        released: Draw sigmoids of normal numbers, the same for all images, as the code of KD-DETR does. Half of them
            then lie between 0.34 and 0.66. Otherwise all four numbers are uniform from 0.01 to 0.99.

    >>> boxes = random_boxes(2, 3, torch.Generator().manual_seed(0))
    >>> tuple(boxes.shape), bool((boxes > 0).all() and (boxes < 1).all())
    ((2, 3, 4), True)
    """
    device = generator.device
    if released:
        return torch.randn(1, number, 4, generator=generator, device=device).sigmoid().expand(images, -1, -1)
    return 0.01 + 0.98 * torch.rand(images, number, 4, generator=generator, device=device)


def check_same_queries(key: str, student: nn.Module, teacher: nn.Module) -> QueryForm:
    """Return the form of the queries of two detectors.

    Args:
        key: Config key of the distiller.
        student: The student.
        teacher: The teacher.

    Raises:
        ConfigError: If one cannot be asked about the queries of the other.
    """
    mine, theirs = (
        QueryForm.of(model, f'{key}: the {role}') for role, model in (('student', student), ('teacher', teacher))
    )
    if mine != theirs:
        raise ConfigError(
            f"{key}: the student's queries are those of {_named(mine)}, the teacher's those of {_named(theirs)}; both "
            'must be of one kind; for two kinds there is FeatureDistiller'
        )
    for what, path, advice in (
        ('embed_dims', 'decoder', 'a query is a vector of this size, so use a teacher of the same width'),
        ('num_classes', 'bbox_head', 'use a teacher trained on the same classes'),
    ):
        sizes = [getattr(model.get_submodule(path), what) for model in (student, teacher)]
        if sizes[0] != sizes[1] and not (mine.maps and what == 'embed_dims'):
            raise ConfigError(
                f'{key}: {path}.{what} is {sizes[0]} in the student and {sizes[1]} in the teacher; {advice}; for other '
                'teachers there is FeatureDistiller'
            )
    softmax = [uses_softmax(model) for model in (student, teacher)]
    if softmax[0] != softmax[1]:
        kinds = ['softmax' if one else 'sigmoid' for one in softmax]
        raise ConfigError(
            f"{key}: the student's bbox_head scores classes with {kinds[0]} and the teacher's with {kinds[1]}; set "
            'bbox_head.loss_cls.use_sigmoid alike'
        )
    return mine


def uses_softmax(model: Any) -> bool:
    """Return whether a detector's class scores are a softmax with the background as its last class."""
    return not getattr(model.bbox_head.loss_cls, 'use_sigmoid', False)


def width_of(model: Any) -> int:
    """Return the number of channels of a detector's queries."""
    return int(model.decoder.embed_dims)


def _named(form: QueryForm) -> str:
    places = {4: 'boxes', 2: 'points'}.get(form.anchors, 'learned vectors')
    return f'{form.detector} ({places})'
