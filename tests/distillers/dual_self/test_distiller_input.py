"""Order of levels, and error sentences of DualSelfDistiller about arguments, shapes and labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.distillers import DualSelfDistiller
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.dual_self.levels import ENCODER, made, make_batch, make_taps


def test_one_path_is_put_in_order_by_size() -> None:
    taps = make_taps(2)
    levels = {name: [taps[f'{name}.{i}'][0] for i in range(3)] for name in ('encoder', 'decoder')}
    batch = make_batch(2)
    expected = made(taps)(taps, {}, batch)
    for turn in (slice(None), slice(None, None, -1)):
        actual = {name: tensors[turn] for name, tensors in levels.items()}
        distiller = made(actual, encoder='e*', decoder='d*')
        torch.testing.assert_close(distiller(actual, {}, batch), expected)
        assert distiller.branches['encoder'].order == list(range(3))[turn]
        assert distiller.spec()['decoder'] == {'heads': [3, 4, 5], 'teacher': 'level 3'}


def test_listed_levels_of_equal_size_are_taken_in_order() -> None:
    x = [torch.randn(1, 4, 8, 8) for _ in range(3)]
    taps = {f'encoder.{i}': [level] for i, level in enumerate(x)}
    assert made(taps, decoder=None).branches['encoder'].teacher == 2


# Refusals.

SHAPES: dict[str, Any] = {
    'turned': lambda taps: {**taps, 'decoder.0': taps['decoder.2'], 'decoder.2': taps['decoder.0']},
    'mixed': lambda taps: {**taps, 'encoder.1': taps['decoder.0']},
    'tokens': lambda taps: {**taps, 'encoder.1': [torch.zeros(2, 64, 8)]},
    'volumes': lambda taps: {**taps, **{f'decoder.{i}': make_taps(3)[f'decoder.{i}'] for i in range(3)}},
    'volume': lambda taps: {**taps, 'decoder.1': make_taps(3)['decoder.1']},
    'same': lambda taps: {'encoder': [torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)]},
    'one': lambda taps: {'encoder': taps['encoder.0']},
    'logits': lambda taps: {**taps, 'logits': [torch.zeros(2, 7, 16, 16)]},
    'plain': lambda taps: taps,
}


@pytest.mark.parametrize(
    ('shapes', 'options', 'match'),
    [
        (
            'turned',
            {},
            r'dsd.decoder: the levels have the sizes 8x8, 4x4, 2x2; .* sizes grow along a decoder',
        ),
        ('mixed', {}, r'distillers.dsd.encoder: the levels have the sizes 16x16, 2x2, 4x4; .* shrink along an encoder'),
        ('tokens', {}, r'distillers.dsd.encoder: a level has shape \(2, 64, 8\); tap layers whose output is a map'),
        ('volume', {}, 'distillers.dsd.decoder: some levels have two spatial axes and some have three'),
        ('volumes', {}, 'distillers.dsd: encoder and decoder have different numbers of axes'),
        ('same', {'encoder': 'e*', 'decoder': None}, 'encoder: all levels have the size 8x8.*list their paths'),
        (
            'one',
            {'encoder': 'e0', 'decoder': None},
            "distillers.dsd.encoder: 'e0' gives one level, which has no other level to",
        ),
        ('logits', {'logits': 'head'}, r"logits: 'head' gives \(2, 7, 16, 16\); it must give one map of 3 classes"),
        (
            'plain',
            {'level_decay': 0.0},
            r'level_decay is 0.0, which leaves nothing of loss_encoder_kl; use .*, or kl_weight=0.0',
        ),
        ('plain', {'encoder_supervision': 'none'}, "encoder_supervision is 'none', so that the head of the level that"),
        ('plain', {'seg_weight': 0.0}, "encoder_supervision is 'none', so that the head"),
        (
            'one',
            {'encoder': 'e0', 'decoder': None, 'kl_weight': 0.0, 'feature_weight': 1.0},
            'feature_weight needs a branch of at least two levels',
        ),
    ],
)
def test_shape_sentences(shapes: str, options: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as raised:
        made(SHAPES[shapes](make_taps(2)), **options)
    assert str(raised.value).startswith('distillers.dsd') and '\n' not in str(raised.value)


def test_nothing_to_share() -> None:
    taps = {alias: tensors for alias, tensors in make_taps(2).items() if alias.startswith('encoder')}
    with pytest.raises(ConfigError, match='share_heads is True, and no two levels have the same channels and size'):
        made(taps, decoder=None, share_heads=True)


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'encoder': None, 'decoder': None}, r'\.encoder and \.decoder are both empty'),
        ({'encoder': 7}, r'\.encoder is 7; give a path'),
        ({'encoder': ['a', 'b', 'a']}, r"\.encoder names 'a' twice"),
        ({'num_classes': 1}, r'\.num_classes is 1; valid: None, or an integer of at least 2'),
        ({'ignore_index': 'void'}, r"\.ignore_index is 'void'"),
        ({'encoder_supervision': 'deep'}, r"\.encoder_supervision is 'deep'; nearest: 'deepest'"),
        ({'seg_weight': -1.0}, r'\.seg_weight is -1.0; it must be a finite number >= 0'),
        ({'dice_weight': 0.0, 'ce_weight': 0.0}, r'\.dice_weight and \.ce_weight are both 0'),
        ({'temperature': 0.0}, r'\.temperature is 0.0; it must be a finite number > 0'),
        ({'upsample': 'bilinear'}, r"\.upsample is 'bilinear'; .*'deconv', 'interpolate'"),
        ({'resolution': 'half'}, r"\.resolution is 'half'; valid: 'full', or an integer"),
        ({'chunk': 0}, r'\.chunk is 0; valid: None, 16384'),
        ({'feature_size': 0}, r'\.feature_size is 0'),
        ({'seg_weight': 0.0, 'kl_weight': 0.0}, 'every weight is 0 and every supervision is off'),
    ],
)
def test_argument_sentences(options: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        MODELS.build({'type': 'kd_plugins.DualSelfDistiller', 'encoder': ENCODER, **options})


def head(num_classes: int, ignore_index: int = 255) -> nn.Module:
    actual = nn.Module()
    actual.num_classes, actual.ignore_index = num_classes, ignore_index
    return actual


def test_classes_of_the_student() -> None:
    model = nn.Module()
    with pytest.raises(ConfigError, match=r"num_classes is None, and 'Module' has no decode_head with num_classes"):
        DualSelfDistiller(encoder=ENCODER).check_models(model, model)
    model.decode_head = nn.ModuleList([head(9), head(5, 0)])  # a cascade, whose last head counts
    distiller = DualSelfDistiller(encoder=ENCODER)
    distiller.check_models(model, model)
    assert (distiller.num_classes, distiller.ignore_index) == (5, 0)
    with pytest.raises(
        ConfigError, match=r'num_classes is 4 and model\.decode_head\.num_classes gives 5 labels; use n'
    ):
        DualSelfDistiller(encoder=ENCODER, num_classes=4).check_models(model, model)
    model.decode_head = head(2)
    with pytest.raises(ConfigError, match='include_background is False, which leaves one of 2 classes'):
        DualSelfDistiller(encoder=ENCODER, include_background=False).check_models(model, model)


@pytest.mark.parametrize('given', [None, 2])
def test_one_sigmoid_output_has_two_labels(given: int | None) -> None:
    model = nn.Module()
    model.decode_head = head(1)
    distiller = DualSelfDistiller(encoder=ENCODER, num_classes=given)
    distiller.check_models(model, model)
    assert distiller.num_classes == 2
    with pytest.raises(ConfigError, match=r'num_classes is 3 and .* gives 2 labels; use num_classes=2, or leave it'):
        DualSelfDistiller(encoder=ENCODER, num_classes=3).check_models(model, model)


def test_classes_of_a_volumetric_network() -> None:
    pytest.importorskip('monai')
    network = dict(type='BasicUNet', spatial_dims=2, in_channels=1, out_channels=3, features=[2] * 6)
    model = MODELS.build(dict(type='kd_plugins.VolumetricSegmentor', network=network))
    distiller = DualSelfDistiller(encoder=ENCODER)
    distiller.check_models(model, model)
    assert distiller.num_classes == 3
    with pytest.raises(ConfigError, match=r'num_classes is 5 and model\.network\.out_channels gives 3 labels; use num'):
        DualSelfDistiller(encoder=ENCODER, num_classes=5).check_models(model, model)


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda s: delattr(s[0], 'gt_sem_seg'), r'1 of 2 samples have gt_sem_seg'),
        (lambda s: [delattr(one, 'gt_sem_seg') for one in s], 'data_samples have no gt_sem_seg, and levels learn from'),
        (lambda s: s[0].gt_sem_seg.set_data({'data': s[0].gt_sem_seg.data[:, 4:]}), 'all must have it, of one size'),
        (
            lambda s: [one.gt_sem_seg.set_data({'data': one.gt_sem_seg.data[None]}) for one in s],
            r'gt_sem_seg has the shape \(1, 1, 16, 16\) and the levels have 2 spatial axes; it must be \(1, H, W\)',
        ),
        (lambda s: s[1].gt_sem_seg.data.fill_(7), r'the labels hold 7, which is none of the 3 classes'),
        (lambda s: s[1].gt_sem_seg.data.fill_(-1), r'the labels hold -1, .* not ignore_index \(255\)'),
        (
            lambda s: [one.gt_sem_seg.set_data({'data': torch.zeros(1, 24, 24)}) for one in s],
            r"distillers.dsd.upsample is 'deconv', .* from 16x16 and 24x24; use upsample='interpolate'",
        ),
    ],
)
def test_label_sentences(change: Any, match: str) -> None:
    taps, batch = make_taps(2), make_batch(2)
    change(batch.data_samples)
    with pytest.raises(ConfigError, match=match) as raised:
        made(taps)(taps, {}, batch)
    assert str(raised.value).startswith('distillers.dsd') and '\n' not in str(raised.value)


def test_labels_of_later_batches_are_read_as_well() -> None:
    taps, batch = make_taps(2), make_batch(2)
    distiller = made(taps)
    distiller(taps, {}, batch)
    batch.data_samples[0].gt_sem_seg.data.fill_(7)
    with pytest.raises(ConfigError, match=r'the labels hold 7'):
        distiller(taps, {}, batch)
