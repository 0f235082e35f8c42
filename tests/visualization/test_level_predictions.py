"""Panels, scores and windows of the picture of levels; heads from a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import DualSelfDistiller
from kd_plugins.errors import CheckpointError
from kd_plugins.visualization import Panel, draw_levels, level_panels, level_predictions, load_heads, mean_dice
from kd_plugins.visualization.level_predictions import HIDDEN, foreground_center, window


class Network(nn.Module):
    """A network of two encoder and two decoder levels in two or three dimensions."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        convolution = nn.Conv2d if dims == 2 else nn.Conv3d
        self.enc0, self.enc1 = convolution(1, 4, 1), convolution(4, 8, 2, stride=2)
        self.dec0, self.dec1 = convolution(8, 8, 2, stride=2), convolution(8, 4, 1)
        self.out = convolution(4, 3, 1)

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Tensor:
        x = self.enc1(self.enc0(inputs))
        self.dec0(x)
        return self.out(self.dec1(x))


def distiller() -> DualSelfDistiller:
    levels = dict(encoder=['enc0', 'enc1'], decoder=['dec0', 'dec1'])
    return DualSelfDistiller(**levels, num_classes=3, key='distillers.dsd')


def checkpoint(dims: int, network: Network, inputs: Tensor) -> tuple[dict, DualSelfDistiller]:
    """Heads with weights of their own, as a resumable checkpoint holds them."""
    trained = distiller()
    trained.check_models(network, network)
    levels = {'encoder.0': (4, 8), 'encoder.1': (8, 4), 'decoder.0': (8, 2), 'decoder.1': (4, 4)}
    trained.initialize({alias: [torch.zeros(1, c, *[side] * dims)] for alias, (c, side) in levels.items()}, {})
    for param in trained.parameters():
        nn.init.normal_(param)
    state = {f'members.dsd.{name}': value for name, value in trained.state_dict().items()}
    return {'distill': {'distillers': state}}, trained


@pytest.mark.parametrize('dims', [2, 3])
def test_predictions_are_those_of_the_trained_heads(dims: int) -> None:
    torch.manual_seed(0)
    network, inputs = Network(dims).eval(), torch.randn(1, 1, *[8] * dims)
    saved, trained = checkpoint(dims, network, inputs)
    actual = level_predictions(network, distiller(), inputs, ('dsd', saved, 'epoch_1.pth'))
    assert list(actual) == ['output', 'encoder', 'decoder']
    assert [len(levels) for levels in actual.values()] == [1, 2, 2]
    x = network.enc0(inputs)
    taps = {'encoder.0': [x], 'encoder.1': [network.enc1(x)]}
    taps |= {'decoder.0': [network.dec0(network.enc1(x))], 'decoder.1': [network.dec1(network.enc1(x))]}
    expected = trained.level_logits(taps, [8] * dims)
    for branch, levels in expected.items():
        for classes, logits in zip(actual[branch], levels):
            assert classes.shape == (1, *[8] * dims) and classes.equal(logits.argmax(1))
    assert not network.enc0._forward_hooks


def test_checkpoints_without_or_with_other_heads() -> None:
    network, inputs = Network(2), torch.randn(1, 1, 8, 8)
    saved, trained = checkpoint(2, network, inputs)
    for wrong in ({}, {'distill': {}}, {'distill': {'distillers': {'members.other.x': torch.zeros(1)}}}):
        with pytest.raises(CheckpointError, match=r"'best.pth' holds no heads of distillers.dsd; give one to resume"):
            load_heads(trained, 'dsd', wrong, 'best.pth')
    saved['distill']['distillers'].popitem()
    with pytest.raises(CheckpointError, match='holds heads that do not fit this config'):
        load_heads(trained, 'dsd', saved, 'epoch_1.pth')


def test_panels_and_scores() -> None:
    truth = np.array([[0, 1], [2, -1]])
    right, wrong = torch.tensor([[[0, 1], [2, 0]]]), torch.tensor([[[1, 0], [0, 0]]])
    panels = level_panels({'output': [right], 'decoder': [wrong, right]}, truth, 3)
    assert [panel.title for panel in panels] == [
        'ground truth',
        'output\nDice 1.000',
        'decoder 1\nDice 0.000',
        'decoder 2 (deepest)\nDice 1.000',
    ]
    assert [panel.group for panel in panels] == ['output', 'output', 'decoder', 'decoder']
    assert mean_dice(np.zeros(3, int), np.zeros(3, int), 3) == 1.0


def test_windows() -> None:
    x = torch.arange(5 * 7).view(1, 5, 7)
    assert window(x, (3, 3), (2, 3)).equal(x[:, 1:4, 2:5])
    assert window(x, (3, 3), (0, 6)).equal(x[:, :3, 4:])
    filled = window(x, (6, 4), (2, 0), fill=-7)
    assert filled[:, :5].equal(x[:, :, :4]) and (filled[:, 5] == -7).all()
    assert foreground_center(np.zeros((4, 6, 8))) == (2, 3, 4)


@pytest.mark.parametrize(('shape', 'counts'), [((8, 10), [3, 2]), ((6, 8, 10), [5, 5, 5])])
def test_figure(shape: tuple[int, ...], counts: list[int]) -> None:
    pytest.importorskip('matplotlib')
    truth = np.zeros(shape, int)
    truth[(slice(3, 5),) * len(shape)] = 1
    truth[(0,) * len(shape)] = -1
    image = np.random.default_rng(0).normal(size=shape)
    panels = [Panel('truth', truth, 'output'), Panel('out', truth, 'output')]
    panels += [Panel(f'level {index}', truth, 'encoder') for index in range(2)]
    figure = draw_levels(image, panels)
    assert len(figure.axes) == sum(counts)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    if len(shape) == 2:
        np.testing.assert_array_equal(shown[0], image)
        np.testing.assert_array_equal(shown[1], truth)
        assert figure.axes[1].images[0].cmap.colors[0] == HIDDEN  # what does not count has its own colour
    else:
        # Slices through the middle of the foreground, one for each axis.
        for row, cut in enumerate(((4,), (slice(None), 4), (slice(None), slice(None), 4))):
            np.testing.assert_array_equal(shown[5 * row], image[cut])
            np.testing.assert_array_equal(shown[5 * row + 1], truth[cut])
    assert [axes.get_title() for axes in figure.axes[:2]] == ['image', 'truth']
