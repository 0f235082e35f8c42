"""What every level of a network predicts, beside the ground truth: an image, or three slices of a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distillers import DualSelfDistiller
from ..distillers.dual_self.level_maps import upsampled
from ..errors import CheckpointError
from ..taps import TapSet, flatten
from .pictures import Array, new_figure

PANEL = 1.9  # of a panel, in inches
COLORS = ('#f2f2f2', '#1f77b4', '#ff7f0e', '#2ca02c', '#d62728', '#9467bd', '#8c564b', '#e377c2', '#bcbd22', '#17becf')
HIDDEN = '#bdbdbd'


class Panel(NamedTuple):
    """One column of the picture."""

    title: str
    """What stands above it."""
    labels: Array
    """Class of each position, (H, W) or (D, H, W); negative where it does not count."""
    group: str = ''
    """Panels of an image share a row with those of their group."""


def window(x: Tensor, size: Sequence[int], center: Sequence[int], fill: float = 0) -> Tensor:
    """Return the part of (..., *spatial) around a position, filled up where there is no more.

    Args:
        x: The whole.
        size: Of the part, for each spatial axis.
        center: Position that comes to lie in its middle, or near it where the whole goes no further.
        fill: Value of what lies outside.

    >>> window(torch.arange(6), [4], [5]).tolist(), window(torch.arange(2), [4], [0], fill=9).tolist()
    ([2, 3, 4, 5], [0, 1, 9, 9])
    """
    for axis, (wanted, middle) in enumerate(zip(size, center), start=x.ndim - len(size)):
        first = min(max(middle - wanted // 2, 0), max(x.shape[axis] - wanted, 0))
        x = x.narrow(axis, first, min(wanted, x.shape[axis]))
    missing = [wanted - found for wanted, found in zip(size, x.shape[x.ndim - len(size) :])]
    pads = [side for axis in reversed(missing) for side in (0, axis)]
    return F.pad(x, pads, value=fill) if any(missing) else x


def foreground_center(labels: Array) -> tuple[int, ...]:
    """Return the middle of what has a class above 0, the middle of all where nothing has.

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
    """Return the mean Dice coefficient of the classes above 0 that either side has, 1 where neither has one.

    Args:
        prediction: Class of each position.
        truth: The same; where it is negative, positions do not count.
        classes: Number of classes.

    >>> mean_dice(np.array([0, 1, 1, 2]), np.array([0, 1, 2, -1]), classes=3)
    0.3333333333333333
    """
    prediction = np.where(truth < 0, -1, prediction)
    scores = []
    for label in range(1, classes):
        ours, theirs = prediction == label, truth == label
        if ours.any() or theirs.any():
            scores.append(2 * float((ours & theirs).sum()) / float(ours.sum() + theirs.sum()))
    return float(np.mean(scores)) if scores else 1.0


def load_heads(distiller: DualSelfDistiller, name: str, checkpoint: Mapping[str, Any], path: str) -> None:
    """Give a distiller that has seen a batch the heads of a checkpoint.

    Args:
        distiller: The distiller.
        name: Its name in the config.
        checkpoint: What :func:`~kd_plugins.checkpoints.load_checkpoint` gave.
        path: Its path, for the sentence.

    Raises:
        CheckpointError: If the checkpoint has none, or others.
    """
    state = (checkpoint.get('distill') or {}).get('distillers') or {}
    prefix = f'members.{name}.'
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if not found:
        raise CheckpointError(
            f"checkpoint: '{path}' holds no heads of distillers.{name}; give one to resume from, such as epoch_20.pth, "
            'since the best and the published ones hold the plain model alone'
        )
    try:
        distiller.load_state_dict(found)
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint: '{path}' holds other heads than this config makes ({error})") from error


@torch.no_grad()
def level_predictions(
    model: nn.Module, distiller: DualSelfDistiller, inputs: Tensor, heads: tuple[str, Mapping[str, Any], str]
) -> dict[str, list[Tensor]]:
    """Return the classes that a model and the heads of its levels predict.

    Args:
        model: In eval mode; runs once on the whole input.
        distiller: A new one; it is bound and built here.
        inputs: Preprocessed, (N, C, *spatial).
        heads: Name of the distiller, checkpoint and its path, for :func:`load_heads`.

    Returns:
        ``'output'`` to a list of one, and branch to the classes of each of its levels, the deepest last, all
        (N, *spatial).
    """
    distiller.check_models(model, model)
    paths = {f'{distiller.key}.{alias}': path for alias, path in distiller.student_taps().items()}
    taps = TapSet(model, paths)
    try:
        taps.start()
        output = model(inputs, mode='tensor')
        taps.stop()
        found = {alias: taps.read(path) for alias, path in distiller.student_taps().items()}
    finally:
        taps.remove()
    distiller.initialize(found, {})
    load_heads(distiller, *heads)
    distiller.eval()
    size = tuple(inputs.shape[2:])
    logits = {'output': [upsampled(flatten(output)[0], size)], **distiller.level_logits(found, size)}
    return {name: [level.argmax(dim=1) for level in levels] for name, levels in logits.items()}


def level_panels(predictions: Mapping[str, Sequence[Tensor]], truth: Array, classes: int) -> list[Panel]:
    """Return the panels of the first image or volume: ground truth, output, and every level from shallow to deep.

    Args:
        predictions: From :func:`level_predictions`.
        truth: Classes, (H, W) or (D, H, W), negative where they do not count.
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
    """Return what picks a whole image, or one slice of each axis of a volume."""
    if len(center) == 2:
        return [(slice(None), slice(None))]
    return [tuple(center[axis] if axis == fixed else slice(None) for axis in range(3)) for fixed in range(3)]


def draw_levels(image: Array, panels: Sequence[Panel], palette: Sequence[Any] = COLORS) -> Any:
    """Draw an image and panels of classes, or three slices of a volume and of panels through its foreground's middle.

    Args:
        image: Grey values, (H, W) or (D, H, W).
        panels: The first is the ground truth, whose foreground chooses the slices.
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
    from matplotlib.colors import ListedColormap  # there, since there is a figure

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
