"""Drawing of keypoints: joints, curves and maps follow the arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kd_plugins.visualization import KeypointComparison, Pose, draw_keypoints
from tests.distillers.keypoint.estimators import JOINTS, SIZE
from tests.visualization.people import METAINFO, NAMES

pytest.importorskip('matplotlib')
WIDTH, HEIGHT = SIZE


def pose_of(rng: Any, curves: bool) -> Pose:
    points = rng.uniform(5, 40, (JOINTS, 2))
    if curves:
        densities = tuple(rng.dirichlet(np.full(2 * side, 0.2), JOINTS) * 2 for side in SIZE)
        return Pose(points, np.ones(JOINTS), (np.arange(96) / 2, np.arange(128) / 2), densities)
    maps = rng.dirichlet(np.full(192, 0.1), JOINTS).reshape(JOINTS, 16, 12)
    return Pose(points, np.ones(JOINTS), (np.arange(12) * 4.0, np.arange(16) * 4.0), (maps,))


def comparison(curves: bool = True, **changes: Any) -> KeypointComparison:
    rng = np.random.default_rng(0)
    truth = rng.uniform(5, 40, (JOINTS, 2))
    truth[3] = np.nan
    actual = KeypointComparison(
        image=rng.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8),
        names=NAMES,
        colors=np.array(METAINFO['keypoint_colors']) / 255.0,
        links=np.array(METAINFO['skeleton_links']),
        link_colors=np.array(METAINFO['skeleton_link_colors']) / 255.0,
        poses={'teacher': pose_of(rng, curves), 'student': pose_of(rng, curves)},
        truth=truth,
        divergence=np.arange(JOINTS, dtype=float),
        joints=[4, 3],
    )
    return replace(actual, **changes)


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def dots(axes: Any) -> NDArray[Any]:
    """Return where the joints are drawn."""
    return np.asarray(np.ma.filled(axes.collections[0].get_offsets().astype(float), np.nan))


def overlapping(figure: Any) -> list[tuple[str, str]]:
    """Return the pairs of texts that cover each other in the drawn figure."""
    figure.canvas.draw()
    texts = [*figure.legends[0].get_texts()]
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title, axes._right_title]
        if axes.axison:
            texts += [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
    shown = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [(a, b) for i, (a, one) in enumerate(shown) for b, two in shown[:i] if one.overlaps(two)]


def test_skeletons_lie_on_the_crop_where_the_arrays_say() -> None:
    shown = comparison()
    figure = draw_keypoints(shown)
    assert shown.truth is not None
    panels = {'ground truth': shown.truth, **{role: pose.points for role, pose in shown.poses.items()}}
    for axes, (name, points) in zip(figure.axes, panels.items()):
        wanted = name if name == 'ground truth' else f'{name}, {np.nanmean(shown.errors(name)):.1f} px off'
        assert axes.get_title() == wanted
        np.testing.assert_array_equal(axes.images[0].get_array(), shown.image)
        np.testing.assert_allclose(dots(axes), points)
        np.testing.assert_allclose(axes.collections[0].get_facecolor()[:, :3], shown.colors)
        links = np.array([line.get_xydata() for line in axes.lines])
        np.testing.assert_allclose(links, points[shown.links])
        assert axes.get_xlim() == (-0.5, WIDTH - 0.5) and axes.get_ylim() == (HEIGHT - 0.5, -0.5)
    assert [text.get_text() for text in figure.axes[0].texts] == ['4']  # the other is not annotated
    assert [text.get_text() for text in figure.axes[2].texts] == ['4', '3']


def test_curves_are_the_densities_with_the_truth_as_a_line() -> None:
    shown = comparison()
    figure = draw_keypoints(shown)
    assert shown.truth is not None and len(figure.axes) == 3 + 2 * 2
    for row, joint in enumerate(shown.joints):
        for axis in range(2):
            axes = figure.axes[3 + 2 * row + axis]
            assert axes.get_title(loc='left') == f'{joint} {NAMES[joint]}, {"xy"[axis]}'
            curves = axes.lines[:2]
            for curve, pose in zip(curves, shown.poses.values()):
                np.testing.assert_allclose(curve.get_xdata(), pose.positions[axis])
                np.testing.assert_allclose(curve.get_ydata(), pose.densities[axis][joint])
                assert axes.get_ylim()[1] > pose.densities[axis][joint].max()
            marks = [line.get_xdata()[0] for line in axes.lines[2:]]
            assert marks == ([] if joint == 3 else [shown.truth[joint, axis]])
            assert axes.get_xlim() == (0, SIZE[axis])
    assert figure.axes[4].get_title(loc='right') == 'KL 4'
    assert legend(figure) == ['teacher', 'student', 'ground truth']
    colors = [line.get_color() for line in figure.axes[3].lines[:2]]
    assert colors == [line.get_color() for line in figure.legends[0].get_lines()[:2]] and len(set(colors)) == 2


def test_maps_lie_in_the_crop_and_share_their_range() -> None:
    shown = comparison(curves=False)
    figure = draw_keypoints(shown)
    assert shown.truth is not None and len(figure.axes) == 3 + 2 * 2
    for column, joint in enumerate(shown.joints):
        highest = max(pose.densities[0][joint].max() for pose in shown.poses.values())
        for row, pose in enumerate(shown.poses.values()):
            axes = figure.axes[3 + 2 * column + row]
            image = axes.images[0]
            np.testing.assert_allclose(image.get_array(), pose.densities[0][joint])
            assert image.get_extent() == [-2.0, 46.0, 62.0, -2.0]  # cells of 4 pixels around their positions
            assert image.get_clim() == (0.0, highest)
            circle, cross = axes.lines
            np.testing.assert_allclose(circle.get_xydata()[0], pose.points[joint])
            np.testing.assert_allclose(cross.get_xydata()[0], shown.truth[joint])
    assert figure.axes[3].get_title() == '4 right_foot\nKL 4'
    assert [axes.get_ylabel() for axes in figure.axes[3:5]] == ['teacher', 'student']
    assert legend(figure) == ['prediction', 'ground truth']


@pytest.mark.parametrize('curves', [True, False])
def test_the_student_can_stand_alone(curves: bool, tmp_path: Any) -> None:
    shown = comparison(curves)
    shown = replace(shown, poses={'student': shown.poses['student']}, truth=None, divergence=None)
    figure = draw_keypoints(shown)
    assert figure.axes[0].get_title() == 'student'
    assert len(figure.axes) == (1 + 2 * 2 if curves else 1 + 2)
    assert legend(figure) == (['student'] if curves else ['prediction'])
    figure.savefig(tmp_path / 'figure.png')
    assert (tmp_path / 'figure.png').stat().st_size > 0


@pytest.mark.parametrize('curves', [True, False])
@pytest.mark.parametrize('joints', [[2], [4, 3], [0, 1, 2, 3, 4]])
def test_no_text_covers_another(curves: bool, joints: list[int]) -> None:
    """Joints that fall together included."""
    shown = comparison(curves, joints=joints)
    shown.poses['student'].points[:] = [40.0, 20.0]
    assert overlapping(draw_keypoints(shown)) == []
