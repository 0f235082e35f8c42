"""Pairs of taps, layers that would teach themselves, and maps at another size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.distillers.paired import RESIZES, PairedDistiller, TapPair, resize_map
from kd_plugins.errors import ConfigError

PAIRS = (
    TapPair.of('student_tap', 'neck.0', 'teacher_tap', None),
    TapPair.of('student_scores', 'head.0', 'teacher_scores', 'head.1'),
)


def made(*pairs: TapPair) -> PairedDistiller:
    return PairedDistiller(pairs or PAIRS, 1.0, 'auto', 'distillers.one')


def test_taps_are_named_after_their_arguments() -> None:
    distiller = made()
    assert distiller.student_taps() == {'student_tap': 'neck.0', 'student_scores': 'head.0'}
    assert distiller.teacher_taps() == {'teacher_tap': 'neck.0', 'teacher_scores': 'head.1'}
    scores, teacher_scores = [torch.zeros(1)], [torch.ones(1)]
    outputs = PAIRS[1].outputs({'student_scores': scores}, {'teacher_scores': teacher_scores})
    assert outputs == (scores, teacher_scores)


def test_an_empty_path_of_the_teacher_is_not_that_of_the_student() -> None:
    assert TapPair.of('student_tap', 'neck.0', 'teacher_tap', '').teacher_path == ''


def test_a_layer_does_not_teach_itself() -> None:
    student, teacher = nn.ReLU(), nn.ReLU()
    made().check_models(student, teacher)
    made(PAIRS[1]).check_models(student, student)
    with pytest.raises(
        ConfigError, match=r"distillers.one.student_tap: 'neck.0' would teach itself; .*set teacher_tap"
    ):
        made().check_models(student, student)


@pytest.mark.parametrize('shape', [(2, 3, 8), (2, 3, 8, 6), (2, 3, 4, 4, 4)], ids=str)
@pytest.mark.parametrize('mode', RESIZES)
def test_maps_with_one_to_three_axes(shape: tuple[int, ...], mode: str) -> None:
    x = torch.randn(shape)
    size = tuple(axis // 2 for axis in shape[2:])
    resized = resize_map(x, size, mode)
    assert resized.shape == (*shape[:2], *size)
    if mode == 'area':
        pools = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}
        torch.testing.assert_close(resized, pools[x.ndim](x, 2))
    if mode == 'nearest':
        index = (slice(None), slice(None), *(slice(None, None, 2) for _ in size))
        assert torch.equal(resized, x[index])


def test_a_map_that_fits_is_left_alone() -> None:
    x = torch.randn(1, 2, 4, 4)
    assert resize_map(x, (4, 4), 'bilinear') is x and resize_map(x, (2, 2), None) is x


def test_linear_maps_stay_linear() -> None:
    """``align_corners=False``: the mean of a ramp is kept."""
    ramp = torch.arange(8.0).view(1, 1, 8)
    torch.testing.assert_close(resize_map(ramp, (4,), 'bilinear').flatten(), torch.tensor([0.5, 2.5, 4.5, 6.5]))
