from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS

ROOT = Path(__file__).resolve().parents[3]
FAMILIES = {'dino': 'dino_r18_bccd', 'deformable': 'deformable-detr_r18_bccd', 'dab': 'dab-detr_r18_bccd'}


def config(family: str, fdr: bool = True, **options: Any) -> dict[str, Any]:
    """Return a shipped model config with fewer and narrower parts."""
    cfg = Config.fromfile(ROOT / 'configs' / 'dfine' / f'{FAMILIES[family]}{"_golsd" if fdr else ""}.py')
    cfg.merge_from_dict({f'model.{key}': value for key, value in options.items()})
    model = cfg.model
    model.num_queries = 12
    model.backbone.update(base_channels=8)
    model.neck.in_channels = [channels // 8 for channels in model.neck.in_channels]
    for coder in (model.encoder, model.decoder):
        coder.layer_cfg.ffn_cfg.feedforward_channels = 32
    model.test_cfg.max_per_img = 10
    return model.to_dict()


def build(model: dict[str, Any], seed: int = 0) -> torch.nn.Module:
    init_default_scope('mmdet')
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmdet'):
        made = MODELS.build(copy.deepcopy(model))
    made.init_weights()
    return made


def batch(model: torch.nn.Module, numbers: list[int]) -> dict[str, Any]:
    shapes = [[3, 64, 96 - 8 * index] for index in range(len(numbers))]
    return model.data_preprocessor(demo_mm_inputs(len(numbers), shapes, num_items=numbers, num_classes=3), True)


def losses(model: torch.nn.Module, numbers: list[int]) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return model(**batch(model, numbers), mode='loss')


@pytest.fixture(scope='module', params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope='module')
def model(family: str) -> torch.nn.Module:
    return build(config(family)).train()


@pytest.mark.parametrize('numbers', [[3, 2], [0, 2], [0, 0], [1, 0], [12, 12], [15, 1]], ids=str)
def test_every_parameter_learns_whatever_the_batch_holds(model: torch.nn.Module, numbers: list[int]) -> None:
    model.zero_grad(set_to_none=True)
    found = losses(model, numbers)
    assert found.keys() == losses(model, [2, 2]).keys()
    assert all(value.shape == () and value.isfinite() for value in found.values())
    torch.stack(list(found.values())).sum().backward()
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
    plain, ours = build(config(family, fdr=False)), build(config(family), seed=1)
    with torch.no_grad():
        for parameter in plain.bbox_head.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    ours.load_state_dict(plain.state_dict(), strict=False)
    plain.eval(), ours.eval()
    data = batch(plain, [2, 2])
    with torch.no_grad():
        scores, boxes = plain(**data, mode='tensor')[:2]
        states, refinement = run_decoder(ours, data)
        first = ours.bbox_head.class_branch(0)(states[0])
    torch.testing.assert_close(first, scores[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(refinement.boxes[0], boxes[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(refinement.boxes[-1], refinement.initial, rtol=1e-4, atol=1e-5)


def run_decoder(model: torch.nn.Module, data: dict[str, Any]) -> Any:
    found = []
    handle = model.decoder.register_forward_hook(lambda module, args, output: found.append(output))
    model(**data, mode='tensor')
    handle.remove()
    return found[0]


def test_predicts_from_the_last_layer(model: torch.nn.Module) -> None:
    made = copy.deepcopy(model).eval()
    with torch.no_grad():
        for parameter in made.bbox_head.fdr.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        data = batch(made, [2, 2])
        found = made.predict(data['inputs'], data['data_samples'], rescale=False)
        states, refinement = run_decoder(made, data)
        scores, boxes = made.bbox_head(states, refinement)
    best = scores[-1, 1].sigmoid().flatten().max()
    torch.testing.assert_close(found[1].pred_instances.scores[0], best)
    query = scores[-1, 1].sigmoid().flatten().argmax() // 3
    x, y, w, h = boxes[-1, 1, query].tolist()
    height, width = data['data_samples'][1].img_shape[:2]
    corners = torch.tensor([(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height])
    limit = torch.tensor([width, height] * 2, dtype=torch.float32)
    torch.testing.assert_close(found[1].pred_instances.bboxes[0], corners.clamp(min=0).minimum(limit))


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


def test_distillation_can_be_left_out(family: str) -> None:
    made = build(config(family, **{'bbox_head.loss_ddf': None, 'bbox_head.matching': 'own'})).train()
    found = losses(made, [3, 2])
    assert 'd0.loss_fgl' in found and not [key for key in found if 'ddf' in key]


def test_class_loss_of_the_base_config_stays_possible(family: str) -> None:
    """FDR with the base config's focal loss."""
    plain = config(family, fdr=False)['bbox_head']['loss_cls']
    model_config = config(family)
    model_config['bbox_head']['loss_cls'] = plain
    assert losses(build(model_config).train(), [2, 0])['loss_cls'].isfinite()


def test_single_stage_and_without_box_refine() -> None:
    model_config = config('deformable', as_two_stage=False, with_box_refine=False)
    made = build(model_config).train()
    found = losses(made, [3, 2])
    assert not [key for key in found if key.startswith('enc_')]
    torch.stack(list(found.values())).sum().backward()
    assert not [name for name, value in made.named_parameters() if value.grad is None]


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'bbox_head.type': 'DINOHead'}, r"model\.bbox_head\.type: 'DINOHead' is no head with FDR.*FDRDINOHead"),
        ({'bbox_head.matching': 'unoin'}, r"bbox_head\.matching is 'unoin'; nearest: 'union'"),
        ({'bbox_head.reg_max': 15}, r'reg_max: 15 is not an even number'),
        ({'decoder.return_intermediate': False}, r'model\.decoder\.return_intermediate'),
        (
            {'bbox_head.loss_cls': dict(type='CrossEntropyLoss', use_sigmoid=False)},
            r'bbox_head\.loss_cls: CrossEntropyLoss uses softmax',
        ),
        (
            {'bbox_head.loss_proposal_cls': dict(type='CrossEntropyLoss', use_sigmoid=False)},
            r'bbox_head\.loss_proposal_cls: CrossEntropyLoss uses softmax',
        ),
    ],
    ids=['head', 'matching', 'reg_max', 'decoder', 'softmax', 'softmax of proposals'],
)
def test_wrong_configs_are_refused(changes: dict[str, Any], sentence: str) -> None:
    model_config = config('dino')
    for path, value in changes.items():
        *parents, name = path.split('.')
        node = model_config
        for parent in parents:
            node = node[parent]
        node[name] = value
    with pytest.raises(ConfigError, match=sentence):
        build(model_config)


def test_proposals_and_first_layer_learn_as_in_the_plain_detector() -> None:
    """For equal weights, matching and class loss, what FDR does not change has the plain losses and gradients."""
    plain_config, model_config = config('dino', fdr=False), config('dino')
    model_config['bbox_head'].update(loss_cls=plain_config['bbox_head']['loss_cls'], matching='own')
    plain, ours = build(plain_config).train(), build(model_config, seed=1).train()
    ours.load_state_dict(plain.state_dict(), strict=False)
    found = {}
    for name, made in (('plain', plain), ('ours', ours)):
        made.backbone.eval()
        values = {key: value.reshape(()) for key, value in losses(made, [3, 2]).items()}
        kept = {key: value for key, value in values.items() if key.startswith('enc_')}
        kept |= {key.replace('init.', 'd0.'): value for key, value in values.items() if key.startswith('init.')}
        kept |= {key: value for key, value in values.items() if key.startswith('d0.') and name == 'plain'}
        weights = [made.bbox_head.cls_branches[-1].weight, made.memory_trans_fc.weight]
        total = torch.stack([value for key, value in kept.items() if key.startswith('enc_')]).sum()
        found[name] = kept, torch.autograd.grad(total, weights)
    assert found['plain'][0].keys() == found['ours'][0].keys() and len(found['plain'][0]) == 9
    for key, value in found['plain'][0].items():
        torch.testing.assert_close(found['ours'][0][key], value, msg=lambda text, key=key: f'{key}: {text}')
    for first, second in zip(*(gradients for _, gradients in found.values())):
        torch.testing.assert_close(first, second)
