"""RT-DETR: sizes, parity with transformers, gradients, training and prediction."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from kd_plugins.errors import ConfigError
from tests.models.dfine.native.detectors import batch, losses
from tests.models.rtdetr.detectors import small
from tools.analysis.rtdetr_twins import ours, parity

# Trainable parameters with 80 classes, in millions as the release prints them, and all of them.
COUNTS = {
    'r18vd': (20, 20_184_464),
    'r34vd': (31, 31_441_668),
    'r50vd_m': (36, 36_647_020),
    'r50vd': (42, 42_944_620),
    'r101vd': (76, 76_661_740),
}


@pytest.mark.parametrize('size', list(COUNTS))
def test_parameters_are_those_of_the_release(size: str) -> None:
    with torch.device('meta'):
        model = ours(size)
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    assert (trained // 1_000_000, sum(value.numel() for value in model.parameters())) == COUNTS[size]


@pytest.mark.parametrize(
    ('version', 'discrete'), [(1, False), (2, False), pytest.param(2, True, marks=pytest.mark.slow)]
)
def test_outputs_are_those_of_transformers(version: int, discrete: bool) -> None:
    """The same random weights on both sides, in float64: maps, scores of all tokens, logits and boxes."""
    pytest.importorskip('transformers')
    result = parity('r18vd', version, 96, 160, discrete=discrete)
    assert result.gap > 1e-9, 'the selection of queries is no matter of rounding'
    assert set(result.differences) >= {'map 0', 'map 2', 'scores', 'logits', 'boxes'}
    assert max(result.differences.values()) < 1e-9, result.differences


@pytest.mark.slow
def test_outputs_of_the_third_of_six_layers_are_those_of_transformers() -> None:
    pytest.importorskip('transformers')
    assert max(parity('r50vd_m', 1, 96, 160).differences.values()) < 1e-9


@pytest.mark.parametrize('numbers', [[3, 2], [0, 0]], ids=str)
def test_every_trainable_parameter_learns_whatever_the_batch_holds(numbers: list[int]) -> None:
    model = small(**{'backbone.frozen_stages': 0, 'backbone.norm_cfg.requires_grad': False})
    actual = losses(model, numbers)
    assert all(value.shape == () and value.isfinite() for value in actual.values())
    assert len(actual) == 21, 'three terms of three layers, of their denoising queries, and of the proposals'
    torch.stack(list(actual.values())).sum().backward()
    lacking = {name for name, value in model.named_parameters() if value.grad is None}
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert lacking == frozen and 'backbone.stem.0.weight' in frozen
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)


def test_a_step_lowers_the_loss_and_half_precision_agrees() -> None:
    model = small()
    start = losses(model, [3, 2])
    with torch.autocast('cpu', torch.bfloat16):
        half = losses(model, [3, 2])
    assert all(value.dtype == torch.float32 and value.isfinite() for value in half.values())
    torch.testing.assert_close(sum(half.values()), sum(start.values()), rtol=0.05, atol=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for _ in range(2):
        optimizer.zero_grad()
        sum(losses(model, [3, 2]).values()).backward()
        optimizer.step()
    assert sum(losses(model, [3, 2]).values()) < 0.95 * sum(start.values())


def test_padded_images_and_predictions() -> None:
    """The best pairs of query and class, in pixels of each image of a padded batch."""
    model, shapes = small().eval(), [(64, 96), (96, 64)]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.bbox_head.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        data = batch(model, [1, 1], shapes)
        results = model.predict(data['inputs'], data['data_samples'], rescale=False)
        logits, boxes = model(**data, mode='tensor')
    for image, (height, width) in enumerate(shapes):
        instances = results[image].pred_instances
        scores, best = logits[-1][image].sigmoid().flatten().topk(10)
        torch.testing.assert_close(instances.scores, scores)
        assert torch.equal(instances.labels, best % 3)
        center, side = boxes[-1][image][best // 3].split(2, dim=-1)
        corners = torch.cat([center - side / 2, center + side / 2], dim=-1).clamp(0, 1)
        expected = corners * torch.tensor([width, height] * 2)
        torch.testing.assert_close(instances.bboxes, expected, rtol=1e-4, atol=1e-3)


def test_a_head_that_does_not_fit_is_refused() -> None:
    sentence = (
        r"model\.bbox_head\.type is 'DINOHead', which is not a head of RT-DETR; nearest: 'kd_plugins\.RTDETRHead'"
    )
    with pytest.raises(ConfigError, match=sentence):
        ours('r18vd', **{'bbox_head.type': 'DINOHead'})


def test_weights_in_half_precision_predict() -> None:
    model = small().eval()
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores, boxes = model.to(torch.bfloat16).raw_predictions(images.bfloat16())
    assert scores.dtype == boxes.dtype == torch.float32 and boxes.isfinite().all()
