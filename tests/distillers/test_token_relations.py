"""RelationDistiller on attention layers: heads, windows, padding and sentences."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.config.loading import load_config
from kd_plugins.distillers import Batch, RelationDistiller
from kd_plugins.losses import token_relation_loss
from tests.distillers.common import check_step, make_batch, sentence
from tests.distillers.transformers import swin
from tests.distillers.two_steps import CONFIGS, two_steps


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)


def vit(width: int = 8, heads: int = 2, layers: int = 1) -> nn.Module:
    model = nn.Module()
    model.blocks = nn.ModuleList(Attention(width, heads) for _ in range(layers))
    return model


def tokens(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def made(student: nn.Module, teacher: nn.Module, path: str = 'blocks.*.qkv', **settings: Any) -> RelationDistiller:
    distiller = RelationDistiller(path, kind='attention', **settings)
    distiller.check_models(student, teacher)
    return distiller


def test_layers_are_averaged_and_heads_are_read() -> None:
    distiller = made(vit(8, 2, layers=2), vit(12, 2, layers=2))
    student, teacher = tokens((2, 5, 24), (2, 5, 24)), tokens((2, 5, 36), (2, 5, 36))
    outputs = {'student_tap': student}, {'teacher_tap': teacher}
    distiller.initialize(*outputs)
    actual = check_step(distiller, *outputs, make_batch([None] * 2))['loss_relation']
    values = [token_relation_loss(s.detach(), t, 2) for s, t in zip(student, teacher)]
    torch.testing.assert_close(actual, sum(values) / 2)


def test_other_heads_and_relations() -> None:
    distiller = made(vit(8, 2), vit(12, 3), heads=4, relations=['query-key', 'value-value'])
    outputs = {'student_tap': tokens((1, 5, 24))}, {'teacher_tap': tokens((1, 5, 36))}
    distiller.initialize(*outputs)
    actual = check_step(distiller, *outputs, make_batch([None]))['loss_relation']
    (s,), (t,) = outputs[0]['student_tap'], outputs[1]['teacher_tap']
    torch.testing.assert_close(actual, token_relation_loss(s.detach(), t, 4, ['query-key', 'value-value']))


def test_padding_of_tokens_with_a_grid() -> None:
    """Maps of 4 x 4 tokens on images whose right half is padding."""
    distiller = made(vit(), vit(), 'blocks.0.qkv@4x4')
    student, teacher = tokens((2, 24, 4, 4), (2, 24, 4, 4))
    outputs = {'student_tap': [student]}, {'teacher_tap': [teacher]}
    distiller.initialize(*outputs)
    actual = check_step(distiller, *outputs, make_batch([None] * 2, img_shape=(64, 32)))['loss_relation']
    s, t = (x[..., :2].detach().flatten(2).transpose(1, 2) for x in (student, teacher))
    torch.testing.assert_close(actual, token_relation_loss(s, t, 2))
    assert student.grad[..., 2:].abs().sum() == 0


def test_windows_of_a_swin_transformer() -> None:
    """Real layers: padding of the images and of the windows counts for nothing."""
    student, teacher = swin(), swin()
    path = 'backbone.stages.1.blocks.1.attn.w_msa.qkv'
    distiller = made(student, teacher, path)
    recorded: dict[str, list[Tensor]] = {}
    for role, model in (('student', student), ('teacher', teacher)):
        layer = model.get_submodule(path)
        layer.register_forward_hook(lambda module, args, out, role=role: recorded.setdefault(role, []).append(out))
    images = torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    samples = [SimpleNamespace(metainfo={'img_shape': shape}) for shape in ((64, 80), (40, 24))]
    for model in (student, teacher):
        model.eval()
        model.backbone(images)
    outputs = {'student_tap': recorded['student']}, {'teacher_tap': [x.detach() for x in recorded['teacher']]}
    distiller.initialize(*outputs)
    loss = distiller(*outputs, Batch(images, samples))['loss_relation']
    (gradient,) = torch.autograd.grad(loss, recorded['student'][0])
    valid = distiller.attention.windows[0].valid(gradient, Batch(images, samples))
    assert loss > 0 and 0 < valid.float().mean() < 1
    assert gradient[~valid].abs().sum() == 0 and (gradient[valid].abs().sum(dim=-1) > 0).all()


def test_copy_of_the_student_as_teacher_and_no_images() -> None:
    distiller = made(vit(), vit())
    (x,) = tokens((2, 5, 24))
    value = check_step(distiller, {'student_tap': [x]}, {'teacher_tap': [x.clone()]}, make_batch([None] * 2))
    assert value['loss_relation'].abs() < 1e-6
    empty = {'student_tap': [torch.zeros(0, 5, 24)]}, {'teacher_tap': [torch.zeros(0, 5, 24)]}
    assert check_step(distiller, *empty, make_batch([]))['loss_relation'] == 0


def test_sentences() -> None:
    for settings, match in (
        ({'relations': []}, r'relations is \[\]; valid: different names of a list'),
        ({'relations': ['value']}, "relations has 'value'; nearest: 'value-value'"),
        ({'heads': 0}, 'heads is 0; valid: None, or a divisor of the widths of both networks, such as 12'),
        ({'temperature': 0.2}, "temperature is 0.2 with kind='attention', which does not read it; .* kind='affinity'"),
        ({'size': 16}, "size is 16 with kind='attention', .* kind='affinity' or 'context'"),
    ):
        with sentence(match):
            RelationDistiller('blocks.*.qkv', kind='attention', **settings)
    with sentence("heads is 2 with kind='context', which does not read it; leave it out, or use kind='attention'"):
        RelationDistiller('neck', kind='context', heads=2)
    with sentence('heads is None, and the layers of the student have 2 heads where those of the teacher have 4'):
        made(vit(8, 2), vit(8, 4))
    with sentence(r"'blocks.0.proj' of the student is Linear, and kind='attention' needs .*nearest: kind='context'"):
        made(vit(), vit(), 'blocks.0.proj')
    detr = nn.ModuleDict({'attn': nn.MultiheadAttention(8, 2)})
    with sentence("'attn' of the student is MultiheadAttention, .* torch's MultiheadAttention, as in DETRs"):
        made(detr, nn.ModuleDict({'attn': nn.MultiheadAttention(8, 2)}), 'attn')
    with sentence("the windows of the student's layers differ"):
        made(
            swin(),
            swin(),
            'backbone.stages.1.blocks.0.attn.w_msa.qkv',
            teacher_tap='backbone.stages.1.blocks.1.attn.w_msa.qkv',
        )
    distiller = made(vit(8, 2), vit(12, 2), heads=8)
    with sentence(r'teacher_tap: an output has shape \(1, 5, 36\), .* a multiple of 8 heads'):
        distiller.initialize({'student_tap': tokens((1, 5, 24))}, {'teacher_tap': tokens((1, 5, 36))})
    with sentence(r'the student has \(1, 5\) images or windows and tokens, and the teacher \(1, 6\)'):
        distiller.initialize({'student_tap': tokens((1, 5, 24))}, {'teacher_tap': tokens((1, 6, 24))})


def test_two_steps_of_a_detector_with_a_swin_transformer() -> None:
    """A GFL whose backbone is MMDetection's Swin transformer."""
    pytest.importorskip('mmdet')
    model = load_config(str(CONFIGS / 'gfl/gfl_r18_bccd.py')).model
    model.backbone = dict(
        type='SwinTransformer',
        embed_dims=12,
        depths=(1, 1, 1, 2),
        num_heads=(1, 2, 4, 8),
        window_size=4,
        out_indices=(0, 1, 2, 3),
    )
    model.neck.in_channels = [12, 24, 48, 96]
    entry = dict(
        type='kd_plugins.RelationDistiller',
        student_tap='backbone.stages.3.blocks.*.attn.w_msa.qkv',
        kind='attention',
        heads=4,
    )
    steps = two_steps(model, dict(attention=entry))
    assert steps.terms['distill.attention.loss_relation'] > 0
    assert steps.reached('backbone.stages.3.blocks.1.attn.w_msa.qkv.weight')
    assert steps.reached('backbone.patch_embed.projection.weight')
