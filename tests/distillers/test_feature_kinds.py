"""Features that are standardized or masked before they are compared."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.adapters import MaskedGenerator
from kd_plugins.distillers import FeatureDistiller, paired
from kd_plugins.losses import channel_wise_kl, feature_cosine, feature_cosine_l1, feature_mse, pearson_distance
from tests.distillers.common import check_step, make_batch, taps

BATCH = make_batch([None, None])


def padded(x: Tensor, fill: float) -> Tensor:
    """Return a map of 8x8 cells whose image has 6x4 of them."""
    full = torch.full((*x.shape[:2], 8, 8), fill)
    full[..., :6, :4] = x
    return full


@pytest.mark.parametrize('stats', [None, 'batch', 'image'])
def test_pearson_leaves_padding_out(stats: str | None) -> None:
    images, batch = torch.randn(2, 2, 4, 6, 4), make_batch([None, None], img_shape=(48, 32))
    student, teacher = {'student_tap': [padded(images[0], 9.0)]}, {'teacher_tap': [padded(images[1], -3.0)]}
    distiller = FeatureDistiller(kind='pearson', stats=stats)
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, batch)['loss_feat']
    torch.testing.assert_close(actual, pearson_distance([images[0]], [images[1]], stats=stats or 'batch'))
    assert not student['student_tap'][0].grad[..., 4:].any()


@pytest.mark.parametrize('kind', ['mse', 'cosine', 'cosine_l1', 'channel_wise'])
def test_normalized_kinds(kind: str) -> None:
    student, teacher = taps([(2, 4, 6, 8), (2, 4, 3, 4)])
    distiller = FeatureDistiller(kind=kind, normalize='batch')
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, BATCH)['loss_feat']
    losses = {'mse': feature_mse, 'cosine': feature_cosine, 'cosine_l1': feature_cosine_l1}
    loss = losses.get(kind, channel_wise_kl)
    pairs = [
        [F.batch_norm(x.detach(), None, None, training=True) for x in pair]
        for pair in zip(student['student_tap'], teacher['teacher_tap'])
    ]
    torch.testing.assert_close(actual, sum(loss(s, t).mean() for s, t in pairs) / 2)


@pytest.mark.parametrize('kind', ['mse', 'cosine', 'cosine_l1', 'channel_wise'])
@pytest.mark.parametrize('normalize', [None, 'batch'])
def test_padding_does_not_count(kind: str, normalize: str | None) -> None:
    images, batch = torch.randn(2, 2, 4, 6, 4), make_batch([None, None], img_shape=(48, 32))
    values = []
    for maps, one in (([padded(images[0], 9.0), padded(images[1], -3.0)], batch), (images.unbind(), BATCH)):
        student, teacher = {'student_tap': [maps[0]]}, {'teacher_tap': [maps[1]]}
        distiller = FeatureDistiller(kind=kind, normalize=normalize)
        distiller.initialize(student, teacher)
        values.append(check_step(distiller, student, teacher, one)['loss_feat'])
    torch.testing.assert_close(values[0], values[1])


@pytest.mark.parametrize('resize', ['bilinear', 'nearest', 'area'])
@pytest.mark.parametrize('kind', ['mse', 'pearson'])
@pytest.mark.parametrize('size', [(16, 16), (5, 3)], ids=str)
def test_resized_maps_read_no_padding(size: tuple[int, int], kind: str, resize: str) -> None:
    """Of images that end within a cell, on maps that are finer and coarser than those of the student."""
    student, teacher = taps([(2, 4, 8, 8)], [(2, 4, *size)])
    batch = make_batch([None, None], img_shape=(41, 33))
    distiller = FeatureDistiller(kind=kind, resize=resize)
    distiller.initialize(student, teacher)
    first = check_step(distiller, student, teacher, batch)['loss_feat']
    gradient = student['student_tap'][0].grad
    assert gradient[:, :, 6:].abs().sum() == gradient[..., 5:].abs().sum() == 0 < gradient.abs().sum()
    with torch.no_grad():
        student['student_tap'][0][:, :, 6:] = student['student_tap'][0][..., 5:] = 1e3
    torch.testing.assert_close(distiller(student, teacher, batch)['loss_feat'].detach(), first, rtol=0, atol=0)


def test_the_place_of_padding_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = taps([(2, 4, 8, 8), (2, 4, 4, 4)], [(2, 8, 6, 6), (2, 8, 3, 3)])
    batch = make_batch([None, None], img_shape=(41, 33))
    distiller = FeatureDistiller(resize='bilinear')
    distiller.initialize(student, teacher)
    monkeypatch.setattr(paired, 'positions_on_images', lambda *args: pytest.fail('read again'))
    assert distiller(student, teacher, batch)['loss_feat'].isfinite()


@pytest.mark.parametrize('options', [{'kind': 'pearson'}, {'kind': 'channel_wise', 'normalize': 'batch'}], ids=str)
def test_adapters_have_no_bias(options: dict) -> None:
    distiller = FeatureDistiller(**options)
    student, teacher = taps([(2, 4, 5, 5)], [(2, 8, 5, 5)])
    distiller.initialize(student, teacher)
    check_step(distiller, student, teacher, BATCH)
    assert [name for name, _ in distiller.named_parameters()] == ['adapters.0.projection.weight']
    assert distiller.adapters[0].projection.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    'options', [{'kind': 'pearson'}, {'kind': 'pearson', 'stats': 'image'}, {'normalize': 'batch'}]
)
@pytest.mark.parametrize(
    ('shape', 'dim'), [((2, 9, 4), -1), ((2, 4, 9), 1), ((2, 4, 2, 3, 4), 1), ((5, 4, 7, 7), 1)], ids=str
)
def test_features_that_are_no_maps_have_no_padding(options: dict, shape: tuple[int, ...], dim: int) -> None:
    """Tokens, points, volumes, and the five regions of interest of two images."""
    student, teacher = taps([shape])
    results = []
    for img_shape in ((64, 64), (32, 16)):
        distiller = FeatureDistiller(channel_dim=dim, **options)
        distiller.initialize(student, teacher)
        results.append(check_step(distiller, student, teacher, make_batch([None, None], img_shape))['loss_feat'])
    assert results[0] == results[1] > 0


@pytest.mark.parametrize('shape', [(2, 4), (1, 4, 1, 1), (0, 4, 3, 3), (2, 4, 0, 3)], ids=str)
def test_small_batches(shape: tuple[int, ...]) -> None:
    for options in ({'kind': 'pearson'}, {'normalize': 'batch'}):
        distiller = FeatureDistiller(**options)
        student, teacher = taps([shape])
        distiller.initialize(student, teacher)
        check_step(distiller, student, teacher, make_batch([None] * shape[0]))


class Generation(nn.Module):
    """``MGDConnector`` of mmrazor (90c7af1), after its code, without drawing the mask."""

    def __init__(self, student: int, teacher: int) -> None:
        super().__init__()
        self.align = nn.Conv2d(student, teacher, 1) if student != teacher else None
        self.generation = nn.Sequential(
            nn.Conv2d(teacher, teacher, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(teacher, teacher, kernel_size=3, padding=1),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        aligned = x if self.align is None else self.align(x)
        return self.generation(torch.mul(aligned, mask))


def connector_of(adapter: MaskedGenerator, student: int, teacher: int) -> Generation:
    connector = Generation(student, teacher)
    state = adapter.state_dict()
    if student != teacher:
        state['align.weight'] = state.pop('align.projection.weight')[..., None, None]
        state['align.bias'] = state.pop('align.projection.bias')
    connector.load_state_dict(state)
    return connector


@pytest.mark.parametrize('mask_ratio', [0.0, 0.65])
@pytest.mark.parametrize('mask', ['position', 'channel'])
@pytest.mark.parametrize('channels', [4, 8])
def test_is_the_loss_of_mgd(channels: int, mask: str, mask_ratio: float) -> None:
    student, teacher = taps([(2, 4, 6, 8), (2, 4, 3, 4)], [(2, channels, 6, 8), (2, channels, 3, 4)])
    adapter = {'type': 'kd_plugins.MaskedGenerator', 'mask': mask, 'mask_ratio': mask_ratio}
    distiller = FeatureDistiller(reduction='sum', adapter=adapter)
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, BATCH)['loss_feat']
    gradients = [level.grad for level in student['student_tap']]
    expected = torch.zeros(())
    leaves = [level.detach().requires_grad_() for level in student['student_tap']]
    for level, one, s, t in zip(range(2), distiller.adapters, leaves, teacher['teacher_tap']):
        assert isinstance(one, MaskedGenerator) and one.seed == BATCH.draw_seed(distiller.key, level)
        kept = one.draw(one.align(s))
        assert kept.shape == ((2, 1, *s.shape[2:]) if mask == 'position' else (2, channels, 1, 1))
        generated = connector_of(one, 4, channels)(s, kept)
        expected = expected + nn.MSELoss(reduction='sum')(generated, t) / len(s)
    torch.testing.assert_close(actual, expected.detach() / 2)  # the release sums the levels
    for gradient, reference in zip(gradients, torch.autograd.grad(expected / 2, leaves)):
        torch.testing.assert_close(gradient, reference)
    assert all(param.grad is not None and param.grad.any() for param in distiller.parameters())
