"""Predictions of every level of a segmentation network, and drawing them beside the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distillers.dual_self import DualSelfDistiller, upsampled
from ..errors import CheckpointError
from ..taps import flatten
from ..utils.figures import new_figure
from .pictures import Array
from .tapping import tapped

PANEL = 1.9
"""Width of a panel in inches."""
COLORS = ('#f2f2f2', '#1f77b4', '#ff7f0e', '#2ca02c', '#d62728', '#9467bd', '#8c564b', '#e377c2', '#bcbd22', '#17becf')
HIDDEN = '#bdbdbd'
"""Colour of positions that are ignored."""


class Panel(NamedTuple):
    """One column of the picture."""

    title: str
    """Title of the panel."""
    labels: Array
    """Class of each position, (H, W) or (D, H, W); negative for ignored positions."""
    group: str = ''
    """Name of a group; for an image, the panels of a group share a row."""


def window(x: Tensor, size: Sequence[int], center: Sequence[int], fill: float = 0) -> Tensor:
    """Return the part of a tensor around a position, padded if the tensor is smaller.

    Args:
        x: (..., *spatial).
        size: Size of the part along each spatial axis.
        center: Position in the middle of the part; near a border, the part is shifted inwards.
        fill: Value of the padding.

    >>> window(torch.arange(6), [4], [5]).tolist(), window(torch.arange(2), [4], [0], fill=9).tolist()
    ([2, 3, 4, 5], [0, 1, 9, 9])
    """
    for axis, (length, middle) in enumerate(zip(size, center), start=x.ndim - len(size)):
        first = min(max(middle - length // 2, 0), max(x.shape[axis] - length, 0))
        x = x.narrow(axis, first, min(length, x.shape[axis]))
    missing = [length - present for length, present in zip(size, x.shape[x.ndim - len(size) :])]
    pads = [side for axis in reversed(missing) for side in (0, axis)]
    return F.pad(x, pads, value=fill) if any(missing) else x


def foreground_center(labels: Array) -> tuple[int, ...]:
    """Return the mean position of the classes above 0, or the middle of the array if there are none.

    Args:
        labels: (H, W) or (D, H, W).

    >>> foreground_center(np.array([[0, 0, 0, 0], [0, 0, 2, 1], [0, 0, 1, 1]]))
    (2, 2)
    """
    places = np.argwhere(labels > 0)
    if len(places) == 0:
        return tuple(side // 2 for side in labels.shape)
    return tuple(int(value) for value in np.rint(places.mean(axis=0)))


def mean_dice(prediction: Array, truth: Array, classes: int) -> float:
    """Return the mean Dice coefficient of the classes above 0 in prediction or ground truth, 1 if there are none.

    Args:
        prediction: Predicted class of each position.
        truth: True class of each position, negative for ignored positions.
        classes: Number of classes.

    >>> mean_dice(np.array([0, 1, 1, 2]), np.array([0, 1, 2, -1]), classes=3)
    0.3333333333333333
    """
    prediction = np.where(truth < 0, -1, prediction)
    scores = []
    for label in range(1, classes):
        predicted, true = prediction == label, truth == label
        if predicted.any() or true.any():
            scores.append(2 * float((predicted & true).sum()) / float(predicted.sum() + true.sum()))
    return float(np.mean(scores)) if scores else 1.0


def load_heads(distiller: nn.Module, name: str, checkpoint: Mapping[str, Any], path: str) -> None:
    """Load the heads of a checkpoint into an initialized distiller.

    Args:
        distiller: The distiller.
        name: Name of the distiller in the config.
        checkpoint: Checkpoint from :func:`~kd_plugins.checkpoints.load_checkpoint`.
        path: Path of the checkpoint for the error sentence.

    Raises:
        CheckpointError: If the checkpoint has no heads, or heads that do not fit.
    """
    state = (checkpoint.get('distill') or {}).get('distillers') or {}
    prefix = f'members.{name}.'
    weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if not weights:
        raise CheckpointError(
            f"checkpoint: '{path}' holds no heads of distillers.{name}; give one to resume from, such as epoch_20.pth, "
            'since the best and the published checkpoints hold the plain model only'
        )
    try:
        distiller.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint: '{path}' holds heads that do not fit this config ({error})") from error


@torch.no_grad()
def level_predictions(
    model: nn.Module, distiller: DualSelfDistiller, inputs: Tensor, heads: tuple[str, Mapping[str, Any], str]
) -> dict[str, list[Tensor]]:
    """Return the classes that a model and the heads of its levels predict.

    Args:
        model: Model in eval mode; it runs once on the whole input.
        distiller: A new distiller, which is initialized here.
        inputs: Preprocessed input, (N, C, *spatial).
        heads: Name of the distiller, checkpoint and path of the checkpoint, for :func:`load_heads`.

    Returns:
        Name of a branch to the classes (N, *spatial) of each of its levels, the deepest last; and ``'output'`` to a
        list with the classes of the network's output.
    """
    distiller.check_models(model, model)
    output, outputs = tapped(model, distiller.key, distiller.student_taps(), inputs)
    distiller.initialize(outputs, {})
    load_heads(distiller, *heads)
    distiller.eval()
    size = tuple(inputs.shape[2:])
    logits = {'output': [upsampled(flatten(output)[0], size)], **distiller.level_logits(outputs, size)}
    return {name: [level.argmax(dim=1) for level in levels] for name, levels in logits.items()}


def level_panels(predictions: Mapping[str, Sequence[Tensor]], truth: Array, classes: int) -> list[Panel]:
    """Return the panels of the first image or volume: ground truth, output, and every level from shallow to deep.

    Args:
        predictions: Result of :func:`level_predictions`.
        truth: True classes, (H, W) or (D, H, W), negative for ignored positions.
        classes: Number of classes.
    """
    panels = [Panel('ground truth', truth, 'output')]
    for group, levels in predictions.items():
        for number, level in enumerate(levels, start=1):
            labels = level[0].cpu().numpy()
            name = group if len(levels) == 1 else f'{group} {number}' + (' (deepest)' if number == len(levels) else '')
            panels.append(Panel(f'{name}\nDice {mean_dice(labels, truth, classes):.3f}', labels, group))
    return panels


def _slices(center: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return the index of a whole image, or of the three slices of a volume through a position."""
    if len(center) == 2:
        return [(slice(None), slice(None))]
    return [tuple(center[axis] if axis == fixed else slice(None) for axis in range(3)) for fixed in range(3)]


def draw_levels(image: Array, panels: Sequence[Panel], palette: Sequence[Any] = COLORS) -> Any:
    """Draw an image or three slices of a volume, and panels of classes beside it.

    Args:
        image: Grey values, (H, W) or (D, H, W).
        panels: Panels of classes. The first is the ground truth; the slices go through the centre of its foreground.
        palette: Colour of each class.

    Returns:
        A ``matplotlib.figure.Figure``: for an image one row of axes for each group of panels, for a volume one row for
        each axis.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    cuts = _slices(foreground_center(panels[0].labels))
    groups = list(dict.fromkeys(panel.group for panel in panels))
    if len(cuts) == 1:
        rows: list[tuple[Any, list[Panel | None]]] = [
            (cuts[0], [*([None] if group == groups[0] else []), *(p for p in panels if p.group == group)])
            for group in groups
        ]
    else:
        rows = [(cut, [None, *panels]) for cut in cuts]
    columns = max(len(listed) for _, listed in rows)
    figure = new_figure(PANEL * columns, (PANEL + 0.35) * len(rows))
    grid = figure.add_gridspec(len(rows), columns)
    from matplotlib.colors import ListedColormap  # installed, since new_figure has returned

    count = max(int(panel.labels.max()) for panel in panels) + 1
    colors = [HIDDEN, *(palette[index % len(palette)] for index in range(count))]
    for row, (cut, listed) in enumerate(rows):
        for column, panel in enumerate(listed):
            axes = figure.add_subplot(grid[row, column])
            axes.set_axis_off()
            if panel is None:
                axes.imshow(image[cut], cmap='gray')
            else:
                shown = np.maximum(panel.labels[cut], -1)
                axes.imshow(shown, cmap=ListedColormap(colors), vmin=-1, vmax=count - 1, interpolation='nearest')
            if row == 0 or len(cuts) == 1:
                axes.set_title('image' if panel is None else panel.title, fontsize=8)
    return figure
