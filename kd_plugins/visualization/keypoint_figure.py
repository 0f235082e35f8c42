"""Drawing of :class:`~kd_plugins.visualization.KeypointComparison`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..utils.figures import new_figure
from .keypoints import KeypointComparison
from .pictures import Array

COLORS = {'teacher': 'tab:blue', 'student': 'tab:orange'}
WIDTHS = {'teacher': 2.4, 'student': 1.3}  # so that the teacher stays visible below an equal student
TRUTH, ON_MAP = 'black', {'ground truth': 'lime', 'prediction': 'deepskyblue'}  # not in the colour map
CIRCLE: dict[str, Any] = dict(marker='o', linestyle='none', fillstyle='none', markersize=8)
CROSS: dict[str, Any] = dict(marker='+', linestyle='none', markersize=9, markeredgewidth=1.5)
PANEL = 3.3
"""Width of a crop in inches."""
BADGE = 0.06
"""Size of the label with the number of a joint, relative to the width of the crop."""


def draw_pose(axes: Any, comparison: KeypointComparison, points: Array) -> None:
    """Draw a skeleton on the crop, with the numbers of the chosen joints, which are shifted where they overlap.

    Args:
        axes: Axes to draw on.
        comparison: Crop, colours and links.
        points: Joints in pixels, (K, 2); NaN is left out.
    """
    axes.imshow(comparison.image)
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    for (start, end), color in zip(comparison.links, comparison.link_colors):
        axes.plot(*points[[start, end]].T, color=color, linewidth=2.0)
    axes.scatter(*points.T, s=22, c=comparison.colors, edgecolors='white', linewidths=0.6, zorder=3)
    reach = BADGE * comparison.image.shape[1]
    labels: list[Array] = []
    for joint in comparison.joints:
        place = np.array(points[joint], float)
        if not np.isfinite(place).all():
            continue
        while any(np.linalg.norm(place - other) < reach for other in labels):
            place[0] += reach / 4 if points[joint, 0] < comparison.image.shape[1] / 2 else -reach / 4
        labels.append(place)
        color = comparison.colors[joint]
        dark = color @ [0.299, 0.587, 0.114] < 0.5
        axes.text(
            *place,
            str(joint),
            color='white' if dark else 'black',
            fontsize=6.5,
            ha='center',
            va='center_baseline',
            clip_on=True,
            bbox=dict(boxstyle='circle,pad=0.25', facecolor=color, edgecolor='white', linewidth=0.9),
        )


def _title(comparison: KeypointComparison, joint: int) -> str:
    return f'{joint} {comparison.names[joint]}'


def _divergence(comparison: KeypointComparison, joint: int) -> str:
    return '' if comparison.divergence is None else f'KL {comparison.divergence[joint]:.3g}'


def draw_curves(figure: Any, cell: Any, comparison: KeypointComparison) -> None:
    """Draw a row for each joint: its densities along x and along y, the ground truth as a vertical line."""
    rows = len(comparison.joints)
    grid = cell.subgridspec(rows, 2)
    for row, joint in enumerate(comparison.joints):
        for axis, name in enumerate('xy'):
            axes = figure.add_subplot(grid[row, axis])
            top = 0.0
            for role, pose in comparison.poses.items():
                density = pose.densities[axis][joint]
                axes.plot(pose.positions[axis], density, color=COLORS[role], linewidth=WIDTHS[role])
                top = max(top, float(density.max()))
            if comparison.truth is not None and np.isfinite(comparison.truth[joint, axis]):
                axes.axvline(comparison.truth[joint, axis], color=TRUTH, linestyle='--', linewidth=1.0)
            axes.set_xlim(0, comparison.image.shape[1 - axis])
            axes.set_ylim(0.0, 1.05 * top)
            axes.set_title(f'{_title(comparison, joint)}, {name}', fontsize=9, loc='left')
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=7)
            if axis == 0:
                axes.set_ylabel('density per pixel', fontsize=8)
            else:
                axes.set_title(_divergence(comparison, joint), fontsize=9, loc='right')
            if row == rows - 1:
                axes.set_xlabel(f'{name} in pixels of the crop', fontsize=8)


def draw_maps(figure: Any, cell: Any, comparison: KeypointComparison) -> None:
    """Draw a column for each joint: the heatmaps of teacher and student in the same range of colours."""
    from matplotlib.colors import PowerNorm

    grid = cell.subgridspec(len(comparison.poses), len(comparison.joints))
    height, width = comparison.image.shape[:2]
    for column, joint in enumerate(comparison.joints):
        highest = max(float(pose.densities[0][joint].max()) for pose in comparison.poses.values())
        for row, (role, pose) in enumerate(comparison.poses.items()):
            axes = figure.add_subplot(grid[row, column])
            (x, y), density = pose.positions, pose.densities[0][joint]
            half = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
            borders = x[0] - half[0], x[-1] + half[0], y[-1] + half[1], y[0] - half[1]
            # With the square root, a flat map is visible in the same range as a sharp one.
            scale = PowerNorm(0.5, vmin=0.0, vmax=highest)
            axes.imshow(density, extent=borders, cmap='magma', norm=scale, interpolation='nearest')
            axes.set_autoscale_on(False)
            axes.set_facecolor('black')
            axes.set_xlim(-0.5, width - 0.5)
            axes.set_ylim(height - 0.5, -0.5)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.plot(*pose.points[joint], color=ON_MAP['prediction'], **CIRCLE)
            if comparison.truth is not None:
                axes.plot(
                    *comparison.truth[joint], '+', color=ON_MAP['ground truth'], markersize=9, markeredgewidth=1.5
                )
            axes.set_xlabel(f'peak {density.max():.2g}', fontsize=8)
            if column == 0:
                axes.set_ylabel(role, fontsize=9)
            if row == 0:
                title = _title(comparison, joint), _divergence(comparison, joint)
                axes.set_title('\n'.join(filter(None, title)), fontsize=9)


def draw_keypoints(comparison: KeypointComparison) -> Any:
    """Draw ground truth, teacher and student side by side, and below them the distributions of some joints.

    The first row shows the crop with the skeleton of each. SimCC and RLE heads have a row of two curves below it for
    every joint, along x and along y, with the ground truth as a dashed line; heatmap heads have a column of two maps,
    with the prediction as a circle and the ground truth as a cross. ``KL`` is the divergence from teacher to student.

    Args:
        comparison: From :func:`~kd_plugins.visualization.compare_keypoints`.

    Returns:
        A ``matplotlib.figure.Figure``: the axes of the skeletons, then two per joint (one for heatmaps without a
        teacher), in the order above.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    panels = {} if comparison.truth is None else {'ground truth': comparison.truth}
    for role, pose in comparison.poses.items():
        error = comparison.errors(role)
        mean = f', {np.nanmean(error):.1f} px off' if np.isfinite(error).any() else ''
        panels[role + mean] = pose.points
    curves, number = len(comparison.poses['student'].densities) == 2, len(comparison.joints)
    ratio = comparison.image.shape[0] / comparison.image.shape[1]
    width = max(PANEL * len(panels), 8.0 if curves else 1.7 * number)
    if curves:
        lower = 1.75 * number
    else:
        lower = (min(width / number, PANEL * 0.7) * ratio + 0.3) * len(comparison.poses) + 0.3
    upper = min(width / len(panels), PANEL * 1.2) * ratio + 0.3
    figure = new_figure(width, upper + lower + 0.4)
    from matplotlib.lines import Line2D

    crops, details = figure.add_gridspec(2, 1, height_ratios=[upper, lower])
    grid = crops.subgridspec(1, len(panels))
    for column, (title, points) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[0, column])
        draw_pose(axes, comparison, points)
        axes.set_title(title, fontsize=10)
    if curves:
        draw_curves(figure, details, comparison)
        handles = [Line2D([], [], color=COLORS[role], linewidth=WIDTHS[role], label=role) for role in comparison.poses]
        truth = Line2D([], [], color=TRUTH, linestyle='--', label='ground truth')
    else:
        draw_maps(figure, details, comparison)
        handles = [Line2D([], [], color=ON_MAP['prediction'], label='prediction', **CIRCLE)]
        truth = Line2D([], [], color=ON_MAP['ground truth'], label='ground truth', **CROSS)
    handles += [] if comparison.truth is None else [truth]
    figure.legend(handles=handles, loc='outside lower center', ncols=len(handles), fontsize=9, frameon=False)
    return figure
