"""Values, gradients and memory of DualSelfDistiller on random levels, and on two ranks."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor

from kd_plugins.distillers import Batch, DualSelfDistiller
from kd_plugins.distillers.locations import positions_on_images
from kd_plugins.losses import DiceCELoss, feature_mse, level_kl
from kd_plugins.profiling.memory import LiveBytes
from tests.distillers.common import check_step, sentence
from tests.distillers.dual_self.levels import CLASSES, ENCODER, labels_of, made, make_batch, make_taps, sample
from tests.losses.released_levels import RELEASED, released_map
from tests.ranks import on_two_ranks
from tests.torch_features import LIVE_BYTES


def gradients(losses: dict[str, Tensor], wanted: list[Tensor]) -> tuple[Tensor, ...]:
    total = torch.stack(list(losses.values())).sum()
    return torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True, retain_graph=True)


@pytest.mark.parametrize('dims', [2, 3])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'upsample': 'interpolate'},
        {'detach_teacher': False},
        {'include_background': False, 'temperature': 1.5},
        {'share_heads': True, 'encoder_supervision': 'none'},
        {'encoder_supervision': 'all', 'decoder_supervision': 'deepest', 'kl_weight': 0.5, 'seg_weight': 2.0},
        {'encoder': None, 'kl_weight': 0.0, 'dice_weight': 0.5},
        {'learnable_weights': True},
    ],
    ids=str,
)
@pytest.mark.parametrize('chunk', [1, 30])
def test_parts_are_the_whole(dims: int, options: dict, chunk: int) -> None:
    """At full resolution, values and gradients are those of the direct form with all maps."""
    direct = import_module('tools.benchmark.dual_self').DirectDualSelfDistiller
    taps, batch = make_taps(dims), make_batch(dims)
    if options.get('encoder', ENCODER) is None:
        taps = {alias: tensors for alias, tensors in taps.items() if alias.startswith('decoder')}
    chunked, whole = made(taps, **options, chunk=chunk * 16), made(taps, direct, **options)
    actual, expected = chunked(taps, {}, batch), whole(taps, {}, batch)
    assert tuple(actual) == chunked.loss_names == tuple(expected)
    torch.testing.assert_close(actual, expected)
    wanted = [tensor for tensors in taps.values() for tensor in tensors]
    for first, second in zip(
        gradients(actual, [*wanted, *chunked.parameters()]), gradients(expected, [*wanted, *whole.parameters()])
    ):
        torch.testing.assert_close(first, second)


def identity(distiller: DualSelfDistiller) -> None:
    """Let every head pass its features on."""
    assert distiller.heads is not None
    for head in distiller.heads.members:
        with torch.no_grad():
            head.projection.projection.weight.copy_(torch.eye(CLASSES))
            head.projection.projection.bias.zero_()


@pytest.mark.parametrize('background', [True, False])
def test_reference_mode_is_the_release(background: bool) -> None:
    """The maps on which the released code was run (see tests/losses/released_levels.py) are the heads' logits here."""
    numbers = {'encoder': (5, 6, 7, 8), 'decoder': (1, 2, 3, 4)}
    taps = {
        f'{branch}.{index}': [released_map(number)]
        for branch, listed in numbers.items()
        for index, number in enumerate(listed)
    }
    distiller = made(
        taps,
        encoder=[f'e{i}' for i in range(4)],
        decoder=[f'd{i}' for i in range(4)],
        detach_teacher=False,
        include_background=background,
        chunk=3,
    )
    identity(distiller)
    labels = (torch.arange(16) % 3).view(2, 2, 2, 2)
    actual = distiller(taps, {}, Batch(torch.zeros(2, 1, 2, 2, 2), [sample(image) for image in labels]))
    for branch in ('encoder', 'decoder'):
        value = float(actual[f'loss_{branch}_kl'].detach())
        assert value == pytest.approx(RELEASED[branch, background], rel=1e-12)
    # Self_Distillation_Loss_Dice of the release without its main output, and the DiceCE of enc4, which it leaves out.
    assert float(actual['loss_decoder_seg'].detach()) == pytest.approx(11.042827154138815, rel=1e-6)
    assert float(actual['loss_encoder_seg'].detach()) == pytest.approx(2.2627339226829855, rel=1e-6)


@pytest.mark.parametrize('branch', ['encoder', 'decoder'])
@pytest.mark.parametrize('detach', [True, False])
def test_who_learns_from_whom(branch: str, detach: bool) -> None:
    taps, batch = make_taps(2), make_batch(2)
    distiller = made(taps, detach_teacher=detach)
    loss = distiller(taps, {}, batch)[f'loss_{branch}_kl']
    heads = [distiller.heads.members[distiller.heads.member_of[at]] for at in distiller.branches[branch].levels]
    wanted = [taps[f'{branch}.{i}'][0] for i in range(3)]
    wanted += [head.projection.projection.weight for head in heads]
    actual = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    assert [bool(gradient.any()) for gradient in actual] == [True, True, not detach] * 2
    # The other branch has nothing to do with it.
    other = 'decoder' if branch == 'encoder' else 'encoder'
    (gradient,) = gradients({'loss': distiller(taps, {}, batch)[f'loss_{branch}_kl']}, taps[f'{other}.0'])
    assert not gradient.any()


def test_steps_of_every_member() -> None:
    """Losses of every kind of configuration are finite scalars that reach every level and every parameter."""
    for dims in (2, 3):
        for options in (
            {},
            {'feature_weight': 0.1, 'learnable_weights': True, 'chunk': 64},
            {'feature_weight': 0.1, 'feature_size': None, 'encoder_supervision': 'all', 'resolution': 4},
            {'share_heads': True, 'upsample': 'interpolate'},
        ):
            taps, batch = make_taps(dims, dtype=torch.float32), make_batch(dims)
            distiller = made(taps, **options)
            check_step(distiller, taps, {}, batch)
            assert all(param.grad is not None for param in distiller.parameters())


@pytest.mark.parametrize('divisor', [2, 4, 16])
@pytest.mark.parametrize('upsample', ['deconv', 'interpolate'])
def test_resolution(divisor: int, upsample: str) -> None:
    taps, batch = make_taps(2), make_batch(2)
    options = dict(upsample=upsample, chunk=40)
    distiller, full = made(taps, **options, resolution=divisor), made(taps, **options)
    assert distiller.loss_names == full.loss_names
    actual, whole = distiller(taps, {}, batch), full(taps, {}, batch)
    size = (16 // divisor,) * 2
    weight = F.avg_pool2d((labels_of(batch) != 255)[:, None].double(), divisor)[:, 0]
    maps = distiller.level_logits(taps, size)
    for branch, (*students, teacher) in maps.items():
        torch.testing.assert_close(actual[f'loss_{branch}_seg'], whole[f'loss_{branch}_seg'])
        expected = level_kl(torch.stack(students), teacher.detach(), weight, 3.0).sum()
        torch.testing.assert_close(actual[f'loss_{branch}_kl'], expected)


def test_size_that_the_divisor_does_not_divide() -> None:
    taps, batch = make_taps(3), make_batch(3)
    actual = made(taps, upsample='interpolate', resolution=3)(taps, {}, batch)
    assert all(value.isfinite() for value in actual.values())


def test_ignored_positions_teach_and_learn_nothing() -> None:
    taps, batch = make_taps(2), make_batch(2, ignore=None)
    assert batch.data_samples is not None
    for one in batch.data_samples:
        one.gt_sem_seg.data[:, 8:] = 255
    distiller = made(taps)
    for name, loss in distiller(taps, {}, batch).items():
        for alias, gradient in zip(taps, gradients({name: loss}, [tensors[0] for tensors in taps.values()])):
            # Each position of a level reaches its own positions of the maps alone.
            rows = taps[alias][0].shape[2]
            assert not gradient[:, :, rows // 2 :].any(), (name, alias)
    whole = distiller(taps, {}, batch)
    for one in batch.data_samples:
        one.gt_sem_seg.data = one.gt_sem_seg.data[:, :8]
    top = {alias: [tensors[0][:, :, : tensors[0].shape[2] // 2]] for alias, tensors in taps.items()}
    torch.testing.assert_close(distiller(top, {}, batch), whole)


def test_deep_supervision() -> None:
    """The member without divergences needs no encoder."""
    taps = {alias: tensors for alias, tensors in make_taps(2).items() if alias.startswith('decoder')}
    batch = make_batch(2)
    distiller = made(taps, encoder=None, kl_weight=0.0)
    actual = distiller(taps, {}, batch)
    maps = distiller.level_logits(taps, (16, 16))['decoder']
    expected = torch.stack([DiceCELoss()(level, labels_of(batch)) for level in maps]).sum()
    assert tuple(actual) == ('loss_decoder_seg',)
    torch.testing.assert_close(actual['loss_decoder_seg'], expected)


@pytest.mark.parametrize('decay', [0.25, 0.5])
def test_levels_weigh_less_the_further_from_the_deepest(decay: float) -> None:
    taps, batch = make_taps(2), make_batch(2)
    labels, valid = labels_of(batch), (labels_of(batch) != 255).double()
    distiller = made(taps, encoder_supervision='all', level_decay=decay)
    actual = distiller(taps, {}, batch)
    assert not [key for key in distiller.state_dict() if 'shares' in key]
    for branch, maps in distiller.level_logits(taps, (16, 16)).items():
        supervision = torch.stack(
            [decay ** (2 - index) * DiceCELoss()(level, labels) for index, level in enumerate(maps)]
        )
        divergence = level_kl(torch.stack(maps[:2]), maps[2], valid) * torch.tensor([decay**2, decay])
        torch.testing.assert_close(actual[f'loss_{branch}_seg'], supervision.sum())
        torch.testing.assert_close(actual[f'loss_{branch}_kl'], divergence.sum())


def test_be_your_own_teacher() -> None:
    """The network's own output teaches all stages, and the deepest features hint."""
    taps, batch = make_taps(2), make_batch(2)
    taps = {alias: tensors for alias, tensors in taps.items() if alias.startswith('encoder')}
    taps['logits'] = [torch.randn(2, CLASSES, 4, 4, dtype=torch.float64, requires_grad=True)]
    options: dict[str, Any] = dict(encoder_supervision='all', logits='head', dice_weight=0.0, upsample='interpolate')
    options |= dict(seg_weight=0.7, kl_weight=0.3, feature_weight=0.03, feature_size=None)
    distiller = made(taps, decoder=None, **options)
    assert distiller.student_taps() == {'encoder.0': 'e0', 'encoder.1': 'e1', 'encoder.2': 'e2', 'logits': 'head'}
    actual = distiller(taps, {}, batch)
    assert tuple(actual) == ('loss_encoder_seg', 'loss_encoder_kl', 'loss_feature')
    labels, valid = labels_of(batch), (labels_of(batch) != 255).double()
    maps = distiller.level_logits(taps, (16, 16))['encoder']
    entropies = [F.cross_entropy(level, labels, ignore_index=255) for level in maps]
    torch.testing.assert_close(actual['loss_encoder_seg'], 0.7 * torch.stack(entropies).sum())
    teacher = F.interpolate(taps['logits'][0], (16, 16), mode='bilinear').detach()
    torch.testing.assert_close(actual['loss_encoder_kl'], 0.3 * level_kl(torch.stack(maps), teacher, valid).sum())
    levels = [taps[f'encoder.{i}'][0] for i in range(3)]
    adapters = distiller.hints['encoder'].members
    hints = [
        feature_mse(F.adaptive_avg_pool2d(adapter(x), (4, 4)), levels[-1]).mean()
        for adapter, x in zip(adapters, levels)
    ]
    torch.testing.assert_close(actual['loss_feature'], 0.03 * torch.stack(hints).sum())
    assert not gradients(actual, taps['logits'])[0].any()


def test_without_labels() -> None:
    """Divergences alone need none; the input's size takes the place of theirs."""
    taps = make_taps(2)
    taps['logits'] = [torch.randn(2, CLASSES, 16, 16, dtype=torch.float64)]
    distiller = made(taps, logits='head', encoder_supervision='none', decoder_supervision='none')
    actual = distiller(taps, {}, Batch(torch.zeros(2, 3, 16, 16), [SimpleNamespace(), SimpleNamespace()]))
    maps = distiller.level_logits(taps, (16, 16))
    assert tuple(actual) == ('loss_encoder_kl', 'loss_decoder_kl')
    for branch, levels in maps.items():
        torch.testing.assert_close(actual[f'loss_{branch}_kl'], level_kl(torch.stack(levels), taps['logits'][0]).sum())


def test_padding_counts_for_nothing() -> None:
    """Divergences and features of images with padding below, without labels, against those of the images alone."""
    taps, sizes = make_taps(2), {'metainfo': {'img_shape': (8, 16)}}
    taps['logits'] = [torch.randn(2, CLASSES, 16, 16, dtype=torch.float64)]
    options = dict(logits='head', encoder_supervision='none', decoder_supervision='none', feature_weight=0.3)
    for size in (1, None):
        distiller = made(taps, **options, feature_size=size)
        padded = distiller(taps, {}, Batch(torch.zeros(2, 3, 16, 16), [SimpleNamespace(**sizes)] * 2))
        top = {alias: [tensors[0][:, :, : tensors[0].shape[2] // 2]] for alias, tensors in taps.items()}
        alone = distiller(top, {}, Batch(torch.zeros(2, 3, 8, 16), [SimpleNamespace(**sizes)] * 2))
        torch.testing.assert_close(padded, alone)


@pytest.mark.parametrize('options', [{}, {'upsample': 'interpolate'}, {'resolution': 4}], ids=str)
def test_maps_of_levels_read_no_padding(options: dict) -> None:
    """Images of 11 x 16 and 16 x 7 end within the cells of the levels and of the divergences."""
    taps, batch = make_taps(2), make_batch(2, ignore=None)
    for one, shape in zip(batch.samples, ((11, 16), (16, 7))):
        one.metainfo['img_shape'] = shape
    distiller = made(taps, feature_weight=0.3, **options)
    first = distiller(taps, {}, batch)
    leaves = [tensors[0] for tensors in taps.values()]
    insides = positions_on_images(leaves, batch)
    for leaf, gradient, inside in zip(leaves, gradients(first, leaves), insides):
        assert gradient.flatten(2).movedim(1, 2)[~inside].abs().sum() == 0 < gradient.abs().sum()
        with torch.no_grad():
            leaf.masked_fill_(~inside.view(2, 1, *leaf.shape[2:]), 1e3)
    torch.testing.assert_close(distiller(taps, {}, batch), first, atol=0, rtol=0)


def test_padding_learns_no_label() -> None:
    """The labels of padding may be any, and must be there: those of the image alone would be stretched over it."""
    taps, batch = make_taps(2), make_batch(2)
    for one, height in zip(batch.samples, (12, 16)):
        one.metainfo['img_shape'] = (height, 16)
    distiller = made(taps)
    values = []
    for label in (255, 0, CLASSES + 4):
        batch.samples[0].gt_sem_seg.data[:, 12:] = label
        values.append(distiller(taps, {}, batch))
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], atol=0, rtol=0)
    for one in batch.samples:
        one.metainfo['img_shape'] = (14, 16)
        one.gt_sem_seg = BaseDataElement(data=torch.zeros(1, 14, 16))
    with sentence('gt_sem_seg is 14x16, and the images with their padding are 16x16; set pad_seg=True'):
        distiller(taps, {}, batch)


def test_labels_of_mmdetection_and_of_other_integer_types() -> None:
    taps, batch = make_taps(2), make_batch(2)
    distiller = made(taps)
    expected = distiller(taps, {}, batch)
    for key, dtype in (('sem_seg', torch.uint8), ('data', torch.int16)):
        truths = [BaseDataElement(**{key: labels[None].to(dtype)}) for labels in labels_of(batch)]
        actual = distiller(taps, {}, Batch(batch.inputs, [SimpleNamespace(gt_sem_seg=truth) for truth in truths]))
        torch.testing.assert_close(actual, expected)


def test_learned_weights_start_at_one_and_learn() -> None:
    taps, batch = make_taps(2), make_batch(2)
    plain, learned = made(taps), made(taps, learnable_weights=True)
    learned.heads.load_state_dict(plain.heads.state_dict())
    for value in learned.log_variances.values():
        value.data.zero_()
    first, second = plain(taps, {}, batch), learned(taps, {}, batch)
    counts = {'loss_encoder_seg': 1, 'loss_decoder_seg': 3, 'loss_encoder_kl': 2, 'loss_decoder_kl': 2}
    for name, count in counts.items():
        torch.testing.assert_close(second[name], first[name] + count * torch.tensor(1.5).double().log())
        (gradient,) = gradients({name: second[name]}, [learned.log_variances[name]])
        assert gradient.shape == (count,) and gradient.all()


# Memory and ranks.


@LIVE_BYTES
def test_memory_of_parts() -> None:
    """Beyond what gradients of the levels take, parts need a fraction of the direct form's memory."""
    direct = import_module('tools.benchmark.dual_self').DirectDualSelfDistiller
    taps, batch = make_taps(3, 32, 1, torch.float32), make_batch(3, 32, 1)
    peaks = []
    for kind, chunk in ((DualSelfDistiller, 4096), (direct, None)):
        distiller = made(taps, kind, chunk=chunk)
        held = [*(tensors[0] for tensors in taps.values()), *distiller.parameters()]
        with LiveBytes(held) as live:
            before = live.now
            actual = gradients(distiller(taps, {}, batch), held)
        peaks.append(live.peak - before - sum(gradient.nbytes for gradient in actual))
    assert peaks[0] < 0.5 * peaks[1]


def ranks_step(images: slice) -> dict[str, Any]:
    """Losses and gradients of some images of a batch of four."""
    taps = {alias: [tensors[0].detach()[images]] for alias, tensors in make_taps(2, images=4).items()}
    leaves = [tensors[0].requires_grad_() for tensors in taps.values()]
    batch = make_batch(2, images=4)
    assert batch.data_samples is not None
    batch.data_samples[0].gt_sem_seg.data[:, :10] = 255  # ranks have different shares of what counts
    distiller = made(taps, feature_weight=0.1, chunk=64)
    losses = distiller(taps, {}, Batch(batch.inputs[images], batch.data_samples[images]))
    grads = gradients(losses, [*leaves, *distiller.parameters()])
    return {'losses': {name: value.detach() for name, value in losses.items()}, 'grads': grads}


def _half_step() -> dict[str, Any]:
    start = 2 * dist.get_rank()
    return ranks_step(slice(start, start + 2))


@pytest.mark.distributed
def test_two_ranks_are_one_process(tmp_path: Path) -> None:
    whole = ranks_step(slice(None))
    first, second = on_two_ranks(tmp_path, _half_step)
    for name, value in whole['losses'].items():
        torch.testing.assert_close((first['losses'][name] + second['losses'][name]) / 2, value)
    for first_share, second_share, all_of_it in zip(first['grads'], second['grads'], whole['grads']):
        if all_of_it.ndim == 4 and len(all_of_it) == 4:  # a level's gradient, by image
            torch.testing.assert_close(torch.cat([first_share, second_share]) / 2, all_of_it)
        else:
            torch.testing.assert_close((first_share + second_share) / 2, all_of_it)
