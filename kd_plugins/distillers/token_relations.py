"""Relations of queries, keys and values in the attention layers of two networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, nearest
from ..losses.token_relations import RELATIONS, token_relation_loss
from ..tap_paths import TapPath
from ..taps import match_modules
from ..utils.argument_types import shown
from ..utils.checks import check_integer
from ..utils.head_types import lineage
from .base import Batch
from .locations import positions_on_images
from .windows import Windows

DEFAULT = ('query-query', 'key-key', 'value-value')
"""Relations of the second version of MiniLM."""


def check_relations(key: str, value: Any) -> tuple[str, ...]:
    """Return the names of the relations to compare.

    Args:
        key: Config key for the error sentence.
        value: A list of names, or None for :data:`DEFAULT`.

    Raises:
        ConfigError: If it is something else, or names a relation twice.

    >>> check_relations('distillers.x.relations', ['query-key', 'value-value'])
    ('query-key', 'value-value')
    """
    if value is None:
        return DEFAULT
    names = list(value) if isinstance(value, (list, tuple)) else []
    if not names or any(names.count(name) > 1 for name in names):
        raise ConfigError(f'{key} is {shown(value)}; valid: different names of a list, such as {list(DEFAULT)}')
    for name in names:
        if name not in RELATIONS:
            raise ConfigError(f'{key} has {shown(name)}; {nearest(str(name), list(RELATIONS), 6)}')
    return tuple(names)


class TokenRelations:
    """Relations of the tokens of attention layers.

    Args:
        key: Config key of the distiller, for error sentences.
        relations: Names of the relations, or None for the default.
        heads: Number of relation heads, or None for that of the attention heads.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(self, key: str, relations: Any, heads: int | None) -> None:
        self.key = key
        self.relations = check_relations(f'{key}.relations', relations)
        valid = 'valid: None, or a divisor of the widths of both networks, such as 12'
        self.heads = None if heads is None else check_integer(f'{key}.heads', heads, 1, valid)
        self.windows: list[Windows | None] = []
        """Windows of each layer of the student, known after :meth:`check_models`."""

    def check_models(self, student: nn.Module, student_path: str, teacher: nn.Module, teacher_path: str) -> None:
        """Read heads and windows of the attention layers.

        Args:
            student: The student network.
            student_path: Path of its tap.
            teacher: The teacher network.
            teacher_path: Path of its tap.

        Raises:
            ConfigError: If the layers make no queries, keys and values, or if their heads or windows differ.
        """
        counts, windows = [], []
        for role, model, path in (('student', student, student_path), ('teacher', teacher, teacher_path)):
            key = f'{self.key}.{role}_tap'
            names = [name for name, _ in match_modules(model, TapPath.parse(path, key).module, key, role)]
            layers = [_attention(model, name, key, role) for name in names]
            counts.append({int(one.num_heads) for one in layers})
            windows.append([Windows.around(model, name, key) for name in names])
        if windows[0] != windows[1]:
            raise ConfigError(
                f"{self.key}.student_tap: the windows of the student's layers differ from those of the teacher's; tap "
                'layers with windows of the same size, shift and stride'
            )
        self.windows = windows[0]
        if self.heads is not None:
            return
        if counts[0] != counts[1] or len(counts[0]) > 1:
            found = [' and '.join(str(count) for count in sorted(one)) for one in counts]
            raise ConfigError(
                f'{self.key}.heads is None, and the layers of the student have {found[0]} heads where those of the '
                f'teacher have {found[1]}; give the number of relation heads, a divisor of the widths of both networks'
            )
        self.heads = counts[0].pop()

    def check_outputs(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        """Check the outputs of the layers.

        Args:
            student: Those of the student.
            teacher: Those of the teacher, equally many.

        Raises:
            ConfigError: If they are no queries, keys and values of the same tokens, or do not divide into the heads.
        """
        for pair in zip(student, teacher):
            for role, x in zip(('student', 'teacher'), pair):
                width = x.shape[1 if x.ndim == 4 else -1]
                if x.ndim not in (3, 4) or width % 3 or (width // 3) % (self.heads or 1):
                    raise ConfigError(
                        f'{self.key}.{role}_tap: an output has shape {tuple(x.shape)}, which is no (N, L, 3 * C) with '
                        f'C a multiple of {self.heads} heads; set heads to a divisor of the widths of both networks'
                    )
            sizes = [_tokens(x).shape[:2] for x in pair]
            if sizes[0] != sizes[1] or sizes[0][1] < 2:
                raise ConfigError(
                    f'{self.key}.student_tap: the student has {tuple(sizes[0])} images or windows and tokens, and the '
                    f'teacher {tuple(sizes[1])}; tap layers with the same tokens, two or more'
                )

    def loss(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the mean over the layers, shape ().

        Args:
            student: Outputs of the student's layers.
            teacher: Those of the teacher's.
            batch: The batch.
        """
        values = []
        for index, (s, t) in enumerate(zip(student, teacher)):
            window = self.windows[index] if len(self.windows) == len(student) else None
            valid = positions_on_images([s], batch)[0] if window is None else window.valid(s, batch)
            values.append(token_relation_loss(_tokens(s), _tokens(t), self.heads or 1, self.relations, valid))
        return torch.stack(values).mean()


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2) if x.ndim == 4 else x


def _attention(model: nn.Module, name: str, key: str, role: str) -> Any:
    """Return the attention layer that a tapped linear layer of queries, keys and values belongs to."""
    layer, *above = reversed(lineage(model, name))
    attention = next((module for module in above if hasattr(module, 'num_heads')), None)
    linear = isinstance(layer, nn.Linear) and layer.out_features == 3 * layer.in_features
    if attention is None or not linear:
        raise ConfigError(
            f"{key}: '{name}' of the {role} is {type(layer).__name__}, and kind='attention' needs the linear layer of "
            "queries, keys and values, such as '...attn.w_msa.qkv' of a Swin transformer or '...attn.qkv' of a ViT; "
            "torch's MultiheadAttention, as in DETRs and SegFormers, has no such layer; nearest: kind='context'"
        )
    return attention
