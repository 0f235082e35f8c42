"""The native D-FINE: sizes, parity with transformers, gradients, training and prediction."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip('mmdet')

from kd_plugins.errors import ConfigError
from kd_plugins.models.reparameterization import switch_to_deploy
from tests.models.dfine.native.detectors import batch, losses, small
from tests.ranks import on_two_ranks
from tools.analysis.dfine_twins import ours, parity

# Parameters with 80, 366 and 1 classes, without the release's two constants, and keys of the state dict.
COUNTS = {
    'n': (3_782_693, 3_966_877, 3_731_817, 665),
    's': (10_321_877, 10_689_101, 10_220_441, 785),
    'm': (19_590_064, 20_030_790, 19_468_325, 1043),
    'l': (31_244_152, 31_831_882, 31_081_807, 1161),
    'x': (62_621_560, 63_209_290, 62_459_215, 1429),
}
PARTS = {
    'n': (1_850_396, 703_824),
    's': (1_850_396, 4_021_504),
    'm': (6_026_626, 7_799_040),
    'l': (13_507_680, 9_343_232),
    'x': (33_231_840, 20_700_032),
}
CONSTANTS = 2
"""``up`` and ``reg_scale``, which the release keeps as parameters."""
slow = pytest.mark.slow


def size_of(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize('size', list(COUNTS))
def test_parameters_and_keys_are_those_of_the_release(size: str) -> None:
    *counts, keys = COUNTS[size]
    with torch.device('meta'):
        models = [ours(size, num_classes) for num_classes in (80, 366, 1)]
    model, (backbone, encoder) = models[0], PARTS[size]
    # The release keeps frozen norms as buffers, and does not count their batches.
    norms = [part for part in model.backbone.modules() if isinstance(part, nn.BatchNorm2d)] if size in 'lx' else []
    frozen = sum(size_of(norm) for norm in norms)
    assert [size_of(model) - frozen + CONSTANTS for model in models] == counts
    assert len(model.state_dict()) - len(norms) == keys
    assert size_of(model.backbone) - frozen == backbone
    # The projection of X to the width of the decoder counts there.
    assert size_of(model.neck) + size_of(model.encoder) - size_of(model.encoder.out_convs or nn.Identity()) == encoder


@pytest.mark.parametrize(
    ('size', 'height', 'width'),
    [
        ('n', 320, 320),
        ('n', 224, 384),
        ('s', 320, 320),
        pytest.param('s', 640, 640, marks=slow),
        pytest.param('m', 320, 320, marks=slow),
        pytest.param('l', 320, 320, marks=slow),
        pytest.param('x', 320, 320, marks=slow),
    ],
)
def test_outputs_are_those_of_transformers(size: str, height: int, width: int) -> None:
    """The same random weights on both sides, in float64: maps, scores of all tokens, logits and boxes."""
    pytest.importorskip('transformers')
    result = parity(size, height, width)
    assert result.gap > 1e-9, 'the selection of queries is no matter of rounding'
    assert set(result.differences) >= {'map 0', 'scores', 'logits', 'boxes'}
    assert max(result.differences.values()) < 1e-9, result.differences


@pytest.mark.parametrize('numbers', [[3, 2], [0, 0], [0, 4]], ids=str)
def test_every_trainable_parameter_learns_whatever_the_batch_holds(numbers: list[int]) -> None:
    """Also in a batch without objects; a frozen stem and frozen norms do not learn and keep their statistics."""
    model = small(**{'backbone.frozen_stem': True, 'backbone.frozen_norm': True})
    before = copy.deepcopy(model.backbone.state_dict())
    actual = losses(model, numbers)
    assert all(value.shape == () and value.isfinite() for value in actual.values())
    assert len(actual) == 37, 'all terms of the release except the divergence of the last layer from itself'
    torch.stack(list(actual.values())).sum().backward()
    lacking = {name for name, value in model.named_parameters() if value.grad is None}
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert lacking == frozen and frozen
    assert all(name.startswith('backbone.stem.') or '.bn.' in name for name in frozen)
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)
    norms = [key for key in before if '.bn.running' in key]
    assert all(torch.equal(model.backbone.state_dict()[key], before[key]) for key in norms)


def test_starts_as_the_release() -> None:
    model = small()
    head = model.bbox_head
    assert all(torch.allclose(branch.bias, torch.tensor(-4.5951), atol=1e-3) for branch in head.cls_branches)
    assert not any(head.reg_branches[layer][-1].weight.any() for layer in (0, 3))
    embedding = model.dn_query_generator.label_embedding.weight
    assert embedding.shape[0] == 4 and not embedding[3].any() and 0.8 < embedding[:3].std() < 1.2
    # PyTorch's default for a convolution, within 1 / sqrt(fan-in), and not the wider one of mmcv's modules.
    for conv in (*[level.conv for level in model.neck.convs], model.encoder.lateral_convs[0].conv):
        bound = conv.weight[0].numel() ** -0.5
        assert 0.9 * bound < conv.weight.abs().max() <= bound
    attention = model.decoder.layers[1].cross_attn
    assert not attention.sampling_offsets.weight.any() and attention.sampling_offsets.bias.any()


@pytest.mark.parametrize('part', ['', 'neck.'])
def test_weights_of_a_file_stay(tmp_path: Path, part: str) -> None:
    saved = small(seed=1).state_dict()
    torch.save({'state_dict': saved}, tmp_path / 'a.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), **({'prefix': part} if part else {}))
    model = small(**{f'{part}init_cfg': [pretrained]})
    names = [name for name in saved if name.startswith(part)]
    assert names and all(torch.equal(model.state_dict()[name], saved[name]) for name in names)
    before = copy.deepcopy(model.state_dict())
    model.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_some_steps_lower_the_loss_and_wake_the_distillation() -> None:
    model = small()
    start = losses(model, [3, 2])
    assert start['d0.loss_ddf'] == 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for _ in range(4):
        optimizer.zero_grad()
        torch.stack(list(losses(model, [3, 2]).values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    end = losses(model, [3, 2])
    assert end['d0.loss_ddf'] > 0
    assert sum(end.values()) < 0.95 * sum(start.values())


def test_half_precision_gives_the_same_finite_terms() -> None:
    model = small()
    expected = losses(model, [3, 2])
    with torch.autocast('cpu', torch.bfloat16):
        actual = losses(model, [3, 2])
    assert actual.keys() == expected.keys()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in actual.values())
    torch.testing.assert_close(sum(actual.values()), sum(expected.values()), rtol=0.05, atol=0)


@pytest.mark.parametrize('shapes', [[(64, 64), (64, 64)], [(72, 104), (72, 104)], [(64, 96), (96, 64)]], ids=str)
def test_images_of_any_size_also_in_one_batch(shapes: list[tuple[int, int]]) -> None:
    """Sides that the strides do not divide, and padded images, whose boxes are relative to the image."""
    model = small()
    actual = losses(model, [2, 3], shapes=shapes)
    assert all(value.isfinite() for value in actual.values())
    model.eval()
    with torch.no_grad():
        results = model(**batch(model, [2, 3], shapes), mode='predict')
    for result, (height, width) in zip(results, shapes):
        boxes = result.pred_instances.bboxes
        assert len(boxes) == 10 and boxes.isfinite().all()
        assert (boxes <= boxes.new_tensor([width, height] * 2)).all() and (boxes >= 0).all()


def test_the_encoder_sees_nothing_of_the_padding() -> None:
    """The finest map has attention here, and no cell of it, of stride 16, lies across the border of an image."""
    model, shapes = small(**{'encoder.attention_levels': (0,)}).eval(), [(64, 96), (96, 64)]
    data, seen = batch(model, [1, 1], shapes), []
    model.encoder.aifi[0].register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    with torch.no_grad():
        model(**data, mode='predict')
        ((features, attended),) = seen
        for index, (height, width) in enumerate(shapes):
            part = slice(index, index + 1), slice(None), slice(height // 16), slice(width // 16)
            torch.testing.assert_close(attended[part], model.encoder.aifi[0](features[part]))


def test_predicts_the_best_pairs_of_query_and_class() -> None:
    model = small().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.bbox_head.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        data = batch(model, [1, 1])
        result = model.predict(data['inputs'], data['data_samples'], rescale=False)[1].pred_instances
        logits, boxes = model(data['inputs'], mode='tensor')
    scores, best = logits[-1][1].sigmoid().flatten().topk(10)
    torch.testing.assert_close(result.scores, scores)
    assert torch.equal(result.labels, best % 3)
    center, side = boxes[-1][1][best // 3].split(2, dim=-1)
    corners = torch.cat([center - side / 2, center + side / 2], dim=-1).clamp(0, 1) * torch.tensor([96, 64] * 2)
    torch.testing.assert_close(result.bboxes, corners, rtol=1e-4, atol=1e-3)


def test_small_images_with_few_classes_give_all_their_pairs() -> None:
    """12 positions of 3 classes: fewer than the 300 detections of the config."""
    model = small(**{'test_cfg.max_per_img': 300, 'num_queries': 300}).eval()
    with torch.no_grad():
        results = model(**batch(model, [1, 1], [(32, 64)] * 2), mode='predict')
    for result in results:
        instances = result.pred_instances
        assert len(instances) == 3 * (2 * 4 + 1 * 2) and (instances.scores > 0).all()


def _step(images: slice) -> dict[str, Tensor]:
    """Return the gradients of all terms without random numbers for some images of a batch."""
    model = small()
    data = batch(model, [3, 1])
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.encoder(model.extract_feat(data['inputs']))
    for norm in norms:  # the statistics of a part of a batch are others
        norm.eval()
    terms = model(inputs=data['inputs'][images], data_samples=data['data_samples'][images], mode='loss')
    sum(value for key, value in terms.items() if 'dn_' not in key).backward()
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def _half() -> dict[str, Tensor]:
    rank = torch.distributed.get_rank()
    return _step(slice(rank, rank + 1))


@pytest.mark.distributed
def test_two_ranks_train_like_one_process(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, _half)
    whole = _step(slice(None))
    assert first.keys() == second.keys() == whole.keys()
    mean = torch.cat([(first[name] + second[name]).flatten() / 2 for name in whole])
    expected = torch.cat([value.flatten() for value in whole.values()])
    assert (mean - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'bbox_head.embed_dims': 256}, r'model\.bbox_head\.embed_dims is 256, but the decoder has 128 channels'),
        ({'bbox_head.type': 'DINOHead'}, r"model\.bbox_head\.type is 'DINOHead', which is not a head with FDR"),
        ({'encoder.type': 'kd_plugins.HybridEncodr'}, r"model\.encoder\.type is 'kd_plugins\.HybridEncodr'"),
        ({'encoder.out_channels': 64}, r'model\.encoder gives 64 channels, but the decoder has 128; set'),
        ({'num_queries': 0}, r'model\.num_queries is 0; valid: a positive integer, such as 300'),
        ({'decoder.num_layers': 0}, r'model\.decoder\.num_layers is 0; valid: a positive integer, such as 3'),
        ({'decoder.num_layer': 3}, r"model\.decoder: DFINEDecoder has no argument 'num_layer'; nearest: 'num_layers'"),
        (
            {'decoder.layer_cfg.cross_attn_cfg.points': 3},
            r"cross_attn_cfg: .* no argument 'points'; .*'num_points'",
        ),
        ({'decoder.layer_cfg.cross_attn_cfg.num_heads': 0}, r'cross_attn_cfg\.num_heads is 0; valid: a divisor'),
        ({'decoder.layer_cfg.ffn_cfg.channels': 8}, r"ffn_cfg: .* no argument 'channels'; .*'feedforward_channels'"),
        (
            {'decoder.layer_cfg.ffn_cfg.embed_dims': 64},
            r'ffn_cfg\.embed_dims is 64, but .* has 128 channels',
        ),
        ({'decoder.act_cfg.type': 'Relu'}, r"model\.decoder\.act_cfg\.type is 'Relu', .*nearest: 'ReLU'"),
        ({'dn_cfg.label_noise': 1.0}, r"model\.dn_cfg: .* has no argument 'label_noise'; nearest: 'label_noise_scale'"),
        ({'dn_cfg.group_cfg.num_dn_query': 5}, r"model\.dn_cfg\.group_cfg has no argument 'num_dn_query'; nearest"),
        ({'bbox_head.num_classes': '3'}, r"model\.bbox_head\.num_classes is '3'; valid: a positive integer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ours('n', **changes)


def test_the_activation_of_deim_changes_no_key() -> None:
    silu = dict(type='SiLU')
    changes = {'decoder.act_cfg': silu, 'decoder.layer_cfg.ffn_cfg.act_cfg': silu, 'bbox_head.act_cfg': silu}
    with torch.device('meta'):
        plain, deim = ours('n'), ours('n', **changes)
    assert deim.state_dict().keys() == plain.state_dict().keys()
    for model, kind in ((plain, nn.ReLU), (deim, nn.SiLU)):
        parts = [*model.decoder.modules(), *model.bbox_head.modules()]
        assert {type(part) for part in parts if isinstance(part, (nn.ReLU, nn.SiLU))} == {kind}


@pytest.mark.parametrize('eval_idx', [-1, 1, 0])
def test_deployed_detector_predicts_the_same_and_refuses_to_train(eval_idx: int) -> None:
    model = small(**{'decoder.eval_idx': eval_idx}).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.bbox_head.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        data = batch(model, [1, 1])
        scores, boxes = model(data['inputs'], mode='tensor')
        expected = model(**data, mode='predict')[1].pred_instances
        assert switch_to_deploy(model) > 0
        names = list(model.state_dict())
        assert switch_to_deploy(model) == 0 and list(model.state_dict()) == names and model.deployed
        found = model(data['inputs'], mode='tensor')
        result = model(**data, mode='predict')[1].pred_instances
        raw = model.raw_predictions(data['inputs'])
    for one, wanted in zip(found, (scores, boxes)):
        torch.testing.assert_close(one, wanted[-1:], rtol=1e-5, atol=1e-5)
    assert all(torch.equal(one, other[0]) for one, other in zip(raw, found))
    torch.testing.assert_close(result.scores, expected.scores, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result.bboxes, expected.bboxes, rtol=1e-4, atol=1e-3)
    layers = eval_idx % 3 + 1
    assert len(model.decoder.layers) == layers
    kept = {name.split('.')[3] for name in names if name.startswith('bbox_head.fdr.distributions')}
    assert kept == {str(layer) for layer in range(layers)}
    assert {name.split('.')[2] for name in names if name.startswith('bbox_head.cls_branches')} == {f'{layers - 1}', '3'}
    with pytest.raises(ConfigError, match='fused for inference by switch_to_deploy'):
        losses(model.train(), [1, 1])


# Parameters of the release after its own fusion, with 80 classes.
DEPLOYED = {'n': 3_753_799, 's': 10_237_491, 'm': 19_248_189, 'l': 30_724_195, 'x': 61_601_635}


@pytest.mark.parametrize('size', list(DEPLOYED))
def test_deployed_parameters_are_those_of_the_release(size: str) -> None:
    """The release keeps the embedding of denoising queries and the norms of the backbone and of the projections."""
    with torch.device('meta'):
        model = ours(size)
    kept = [model.backbone, model.neck, model.encoder.out_convs or nn.Identity()]
    norms = sum(size_of(part) for module in kept for part in module.modules() if isinstance(part, nn.BatchNorm2d))
    frozen = sum(size_of(part) for part in model.backbone.modules() if isinstance(part, nn.BatchNorm2d))
    embedding = size_of(model.dn_query_generator)
    switch_to_deploy(model)
    # A fused norm leaves one bias for two vectors.
    expected = size_of(model) + embedding + norms // 2 - (frozen if size in 'lx' else 0) + CONSTANTS
    assert expected == DEPLOYED[size]


def test_levels_that_do_not_fit_are_refused() -> None:
    model = small(**{'decoder.layer_cfg.cross_attn_cfg.num_points': (6, 6, 6)})
    with pytest.raises(ConfigError, match=r'model\.encoder has 2 levels, but .*num_points has 3 entries'):
        losses(model, [1, 1])


def test_weights_in_half_precision_predict() -> None:
    """In bfloat16, which a CPU computes in; boxes and scores stay in float32."""
    model = small().eval()
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores, boxes = model.to(torch.bfloat16).raw_predictions(images.bfloat16())
    assert scores.dtype == boxes.dtype == torch.float32
    assert scores.isfinite().all() and boxes.isfinite().all() and boxes.shape == (1, 20, 4)
