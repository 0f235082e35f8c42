from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from kd_plugins.errors import ConfigError
from tests.models.dfine.small_detectors import FAMILIES, batch, build, config, losses, run_decoder


@pytest.fixture(scope='module', params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope='module')
def model(family: str) -> torch.nn.Module:
    return build(config(family)).train()


@pytest.mark.parametrize('numbers', [[3, 2], [0, 2], [0, 0], [1, 0], [12, 12], [15, 1]], ids=str)
def test_every_parameter_learns_whatever_the_batch_holds(model: torch.nn.Module, numbers: list[int]) -> None:
    model.zero_grad(set_to_none=True)
    actual = losses(model, numbers)
    assert actual.keys() == losses(model, [2, 2]).keys()
    assert all(value.shape == () and value.isfinite() for value in actual.values())
    torch.stack(list(actual.values())).sum().backward()
    lacking = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not lacking
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)


def test_plain_checkpoint_loads(family: str, model: torch.nn.Module) -> None:
    """Backbone, neck, encoder, decoder, classes, first and last box branch match; what is new has its own names."""
    plain = build(config(family, fdr=False)).state_dict()
    result = copy.deepcopy(model).load_state_dict(plain, strict=False)
    new = ('bbox_head.fdr.',) + (('decoder.query_position.',) if family == 'deformable' else ())
    assert result.missing_keys and all(key.startswith(new) for key in result.missing_keys)
    layers = '12' if family != 'dab' else ''
    assert all(key.startswith(tuple(f'bbox_head.reg_branches.{n}.' for n in layers)) for key in result.unexpected_keys)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert all(shapes[key] == value.shape for key, value in plain.items() if key in shapes)


def test_starts_as_the_plain_detector(family: str) -> None:
    """With the plain detector's weights, the first layer's scores and boxes are those of its first layer."""
    plain, with_fdr = build(config(family, fdr=False)), build(config(family), seed=1)
    with torch.no_grad():
        for parameter in plain.bbox_head.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    with_fdr.load_state_dict(plain.state_dict(), strict=False)
    plain.eval(), with_fdr.eval()
    data = batch(plain, [2, 2])
    with torch.no_grad():
        scores, boxes = plain(**data, mode='tensor')[:2]
        states, refinement = run_decoder(with_fdr, data)
        first = with_fdr.bbox_head.class_branch(0)(states[0])
    torch.testing.assert_close(first, scores[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(refinement.boxes[0], boxes[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(refinement.boxes[-1], refinement.initial, rtol=1e-4, atol=1e-5)


def test_predicts_from_the_last_layer(model: torch.nn.Module) -> None:
    made = copy.deepcopy(model).eval()
    with torch.no_grad():
        for parameter in made.bbox_head.fdr.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        data = batch(made, [2, 2])
        actual = made.predict(data['inputs'], data['data_samples'], rescale=False)
        states, refinement = run_decoder(made, data)
        scores, boxes = made.bbox_head(states, refinement)
    best = scores[-1, 1].sigmoid().flatten().max()
    torch.testing.assert_close(actual[1].pred_instances.scores[0], best)
    query = scores[-1, 1].sigmoid().flatten().argmax() // 3
    x, y, w, h = boxes[-1, 1, query].tolist()
    height, width = data['data_samples'][1].img_shape[:2]
    corners = torch.tensor([(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height])
    limit = torch.tensor([width, height] * 2, dtype=torch.float32)
    torch.testing.assert_close(actual[1].pred_instances.bboxes[0], corners.clamp(min=0).minimum(limit))


def test_a_step_moves_the_distributions_and_distillation_wakes_up(family: str) -> None:
    made = build(config(family)).train()
    start = losses(made, [3, 2])
    assert start['d0.loss_ddf'] == 0, 'all layers agree at the start'
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        torch.stack(list(losses(made, [3, 2]).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
    assert losses(made, [3, 2])['d0.loss_ddf'] > 0


def test_single_stage_and_without_box_refine() -> None:
    model_config = config('deformable', as_two_stage=False, with_box_refine=False)
    made = build(model_config).train()
    actual = losses(made, [3, 2])
    assert not [key for key in actual if key.startswith('enc_')]
    torch.stack(list(actual.values())).sum().backward()
    assert not [name for name, value in made.named_parameters() if value.grad is None]


@pytest.mark.parametrize(
    ('part', 'changes', 'sentence'),
    [
        (
            'bbox_head',
            {'type': 'DINOHead'},
            r"model\.bbox_head\.type is 'DINOHead', which is not a head with FDR.*FDRDINOHead",
        ),
        ('decoder', {'return_intermediate': False}, r'model\.decoder\.return_intermediate'),
    ],
    ids=['head', 'decoder'],
)
def test_wrong_parts_are_refused(part: str, changes: dict[str, Any], sentence: str) -> None:
    model_config = config('dino')
    model_config[part].update(changes)
    with pytest.raises(ConfigError, match=sentence):
        build(model_config)


@pytest.mark.parametrize('family', ['dino', 'deformable', 'dab'])
@pytest.mark.parametrize('argument', ['num_layers', 'layer_cfg'])
def test_a_decoder_without_layers_is_refused(family: str, argument: str) -> None:
    model_config = config(family)
    del model_config['decoder'][argument]
    with pytest.raises(ConfigError, match=rf"model\.decoder has no '{argument}'; give dict\(num_layers=6"):
        build(model_config)
