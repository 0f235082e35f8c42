"""DisWOT: similarity of a student and a teacher with random weights, as a score of how well one would teach the other.

Source: DisWOT (arXiv 2303.15678) by the definition in the README of its release, ``lliai/DisWOT-CVPR2023``. Its scripts
compute something else: channels of the first image in place of samples, and gradients of a teacher that add up.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, nearest
from ..taps import flatten, module_at
from ..utils.loss_dicts import loss_sum
from ..utils.rng import seeded_rng

FEATURES = ('backbone', 'pts_backbone', 'img_backbone')
"""Parts whose last output is the deepest feature map."""
CLASSIFIERS = (
    'decode_head.conv_seg',
    'roi_head.bbox_head.fc_cls',
    'roi_head.bbox_head.*.fc_cls',
    'bbox_head.cls_branches.*',
    'bbox_head.*_cls.*',
    'bbox_head.*_cls',
    'bbox_head.cls_*',
    'head.cls_x',
    'head.final_layer',
)
"""Names of the layer that computes the class scores, in OpenMMLab's models; of several layers the last one counts."""


def relation_similarity(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Return the similarity of the relations between images, at most 0.

    .. math:: -\frac{1}{B^2} \left\lVert \mathrm{n}(S S^\top) - \mathrm{n}(T T^\top) \right\rVert_F^2

    where n divides every row by its L2 norm.

    Args:
        student: Feature maps S, shape (B, ...), one row for each image.
        teacher: Feature maps T, shape (B, ...); the other axes may differ.

    Returns:
        Shape ().

    >>> maps = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> round(float(relation_similarity(maps, maps)), 4), round(float(relation_similarity(maps, torch.ones(2, 3))), 4)
    (-0.0, -0.2929)
    """
    gram = [F.normalize(rows @ rows.T, dim=1) for rows in (one.double().flatten(1) for one in (student, teacher))]
    return -(gram[0] - gram[1]).square().mean()


def semantic_similarity(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Return the similarity of the channels that matter to each class, at most 0.

    .. math:: -\frac{1}{C n} \sum_{c=1}^{C} \left\lVert \mathrm{n}(S_c S_c^\top) - \mathrm{n}(T_c T_c^\top)
        \right\rVert_F^2

    where n divides every row by its L2 norm.

    Args:
        student: Gradient of the task loss at the weights of the layer of class scores, shape (C, n, ...): S_c are its n
            input channels for class c. The remaining axes are those of a convolution's kernel.
        teacher: The same of the teacher, with the same C and n.

    Returns:
        Shape ().

    Raises:
        ValueError: If the numbers of classes or of input channels differ, for which the README has no definition.

    >>> weights = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    >>> float(semantic_similarity(weights, 3 * weights)), round(float(semantic_similarity(weights, weights.flip(1))), 4)
    (-0.0, -0.7)
    """
    if student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f'the layers of class scores have {tuple(student.shape[:2])} and {tuple(teacher.shape[:2])} classes and '
            'channels'
        )
    total = student.new_zeros((), dtype=torch.float64)
    # One class at a time: all together would take C n^2 numbers.
    for mine, theirs in zip(*(one.double().reshape(*one.shape[:2], -1) for one in (student, teacher))):
        total = total + (F.normalize(mine @ mine.T, dim=1) - F.normalize(theirs @ theirs.T, dim=1)).square().sum()
    return -total / (student.shape[0] * student.shape[1])


@dataclass(frozen=True)
class Evidence:
    """Features and gradient of one network on a batch, from which the scores are computed.

    Attributes:
        features: Its deepest feature map, shape (B, ...).
        gradient: Gradient of the task loss at the layer of class scores, shape (C, n, ...).
        layer: Path of that layer.
    """

    features: Tensor
    gradient: Tensor
    layer: str


@dataclass(frozen=True)
class Score:
    """Score of a pair of networks.

    Attributes:
        relation: See :func:`relation_similarity`.
        semantic: See :func:`semantic_similarity`; ``None`` where it is not defined.
        reason: Why it is not defined, otherwise empty.
    """

    relation: float
    semantic: float | None
    reason: str = ''

    @property
    def total(self) -> float | None:
        """DisWOT's score, the sum of both; ``None`` where one is not defined."""
        return None if self.semantic is None else self.relation + self.semantic


def evidence(
    model: Any, inputs: Mapping[str, Any], role: str, features: str | None = None, classifier: str | None = None
) -> Evidence:
    """Run a network forward and backward once, in train mode, on its task loss.

    Args:
        model: An OpenMMLab model.
        inputs: Preprocessed batch, the arguments of ``model(..., mode='loss')``; it is not changed.
        role: ``'student'`` or ``'teacher'``, for error sentences.
        features: Path of the part whose last output is the deepest feature map; ``None`` for the backbone.
        classifier: Path of the layer of class scores; ``None`` looks for it by :data:`CLASSIFIERS`.

    Raises:
        ConfigError: If there is no such part or layer, or no gradient reaches the layer.
    """
    path = features or next((name for name in FEATURES if hasattr(model, name)), None)
    if path is None:
        raise ConfigError(f'--features: the {role} {type(model).__name__} has no backbone; name the part with its maps')
    layer = classifier or find_classifier(model, role)
    weight = getattr(module_at(model, layer, '--classifier', role), 'weight', None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        raise ConfigError(f"--classifier: '{layer}' of the {role} has no weight (C, n, ...); name the last layer")
    recorded: list[Tensor] = []
    handle = module_at(model, path, '--features', role).register_forward_hook(
        lambda module, args, output: recorded.append(flatten(output)[-1])
    )
    try:
        model.train()
        model.zero_grad(set_to_none=True)
        weight.requires_grad_(True)
        loss_sum(model(**copy.deepcopy(dict(inputs)), mode='loss')).backward()
    finally:
        handle.remove()
    if weight.grad is None or not recorded:
        raise ConfigError(
            f"--classifier: no gradient of the task reaches '{layer}' of the {role}; name another layer of class scores"
        )
    return Evidence(recorded[-1].detach(), weight.grad.detach().clone(), layer)


def find_classifier(model: nn.Module, role: str) -> str:
    """Return the path of the layer of class scores.

    Args:
        model: An OpenMMLab model.
        role: ``'student'`` or ``'teacher'``, for the error sentence.

    Raises:
        ConfigError: If none of :data:`CLASSIFIERS` is there.
    """
    layers = [name for name, module in model.named_modules() if isinstance(getattr(module, 'weight', None), Tensor)]
    for pattern in CLASSIFIERS:
        depth = pattern.count('.')
        found = [name for name in layers if fnmatch(name, pattern) and name.count('.') == depth]
        if found:
            return found[-1]
    raise ConfigError(
        f'--classifier: the {role} {type(model).__name__} has no known layer of class scores; {nearest("cls", layers)}'
    )


def score(student: Evidence, teacher: Evidence) -> Score:
    """Return the score of two networks on the same batch.

    Args:
        student: See :func:`evidence`.
        teacher: The same of the teacher.

    Raises:
        ConfigError: If the batch has one image, whose relations are always the same.
    """
    if len(student.features) < 2:
        raise ConfigError('train_dataloader.batch_size is 1, and relations need two images; set --batch-size 8')
    relation = float(relation_similarity(student.features, teacher.features))
    try:
        return Score(relation, float(semantic_similarity(student.gradient, teacher.gradient)))
    except ValueError as error:
        return Score(relation, None, f'{error} (student {student.layer}, teacher {teacher.layer})')


def random_scores(
    build: Sequence[Any], inputs: Mapping[str, Any], seeds: Sequence[int], paths: Mapping[str, str | None]
) -> list[Score]:
    """Return the score of each pair of random initialisations.

    Args:
        build: Functions that return a student and a teacher with new random weights.
        inputs: See :func:`evidence`.
        seeds: Seeds of the weights; the teacher gets another stream of each.
        paths: ``features``, ``classifier``, ``teacher_features`` and ``teacher_classifier``, each a path or ``None``.

    Raises:
        ConfigError: If a part is not found.
    """
    scores = []
    for seed in seeds:
        shown = []
        for number, (role, prefix) in enumerate((('student', ''), ('teacher', 'teacher_'))):
            with seeded_rng(2 * seed + number):
                model = build[number]()
                shown.append(evidence(model, inputs, role, paths[f'{prefix}features'], paths[f'{prefix}classifier']))
        scores.append(score(*shown))
    return scores
