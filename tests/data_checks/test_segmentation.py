from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

from .made import image
from .made_masks import halves, mask, masks_config

pytest.importorskip('mmseg')
SIGMOID = dict(num_classes=1, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))


def every(pixels, part='*', **options):
    def change(root, config):
        for path in root.glob(f'ann/{part}/*.png'):
            mask(path, pixels, **options)

    return change


def one(pixels, name='train/train3.png'):
    return lambda root, config: mask(root / 'ann' / name, pixels)


def raw(name, content):
    return lambda root, config: (root / name).write_bytes(content)


def cut(name, size):
    return lambda root, config: (root / name).write_bytes((root / name).read_bytes()[:size])


def split(content):
    def change(root, config):
        (root / 'split.txt').write_bytes(content)
        config.train_dataloader.dataset.ann_file = 'split.txt'

    return change


def renamed(suffix):
    def change(root, config):
        for path in list(root.glob('ann/*/*.png')):
            path.rename(path.with_name(path.stem + suffix))

    return change


def jpeg(pixels):
    def change(root, config):
        for path in list(root.glob('ann/*/*.png')):
            path.unlink()
            mask(path.with_suffix('.jpg'), pixels)

    return change


def chain(*changes):
    def change(root, config):
        for step in changes:
            step(root, config)

    return change


def small_masks(root, config):
    every(halves(0, 1, width=32, height=32), 'train')(root, config)
    config.train_dataloader.dataset.pipeline.append(dict(type='Resize', scale=(64, 64), keep_ratio=True))


def cv2_backend(root, config):
    every(halves(0, 1), mode='P')(root, config)
    config.train_dataloader.dataset.pipeline[1].imdecode_backend = 'cv2'


def own_reduce(root, config):
    config.train_dataloader.dataset.pipeline[1].reduce_zero_label = True


def turned(root, config):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    image(root / 'img/train/train0.jpg', 64, 32, exif=exif)
    mask(root / 'ann/train/train0.png', halves(0, 1, width=64, height=32))


def check(tmp_path, change, **arguments):
    config = masks_config(tmp_path, **arguments)
    if change:
        change(tmp_path, config)
    return check_data_files(config)


REFUSED = {
    '0 and 255': (every(halves(0, 255)), {}, r'train0\.png.*0 and 255 alone.*write 1 instead of 255 for class 1'),
    '0 and 255 of val': (every(halves(0, 255), 'val'), {}, r'val0\.png.*val_dataloader.*write 1 instead of 255'),
    'from one': (every(halves(1, 2)), {}, r'holds the value 2 \(4 of 4.*0 to 1.*reduce_zero_label=True'),
    'one late mask': (one(halves(0, 2)), {}, r"train3\.png' holds the value 2 \(1 of 4 masks"),
    'late mask of val': (one(halves(0, 2), 'val/val2.png'), {}, r"val2\.png' holds the value 2"),
    'colours': (one(np.tile(np.arange(3, dtype=np.uint8), (64, 64, 1))), {}, r'3 channels.*class index of each pixel'),
    'grey in three channels': (one(np.zeros((64, 64, 3), np.uint8)), {}, r'its channels are equal; save one'),
    'palette read by OpenCV': (cv2_backend, {}, r"palette.*imdecode_backend='pillow'"),
    '16 bits': (one(halves(0, 300, np.uint16)), {}, r'value 300 \(uint16\).*one byte'),
    'other size': (one(halves(0, 1, width=32)), {}, r'32x64 pixels and its image .*64x64'),
    'turned image': (turned, {}, r'EXIF orientation 6'),
    'nothing but background': (every(halves(0, 0)), {}, r'hold the value 0 alone'),
    'cut off': (cut('ann/train/train2.png', 60), {}, r"train2\.png' is truncated"),
    'empty': (raw('ann/train/train2.png', b''), {}, r"train2\.png' is empty"),
    'text': (raw('ann/val/val2.png', b'<html>'), {}, r"val2\.png' is truncated or not an image"),
    'missing': (lambda root, _: (root / 'ann/train/train2.png').unlink(), {}, r"train2\.png' does not exist \(1 of 4"),
    'cut image': (cut('img/train/train0.jpg', 300), {}, r"train0\.jpg' is cut off"),
    'image suffix': (None, dict(img_suffix='.png'), r"4 end with '\.jpg'\); nearest: img_suffix='\.jpg'"),
    'mask suffix': (renamed('_gt.png'), {}, r"nearest: seg_map_suffix='_gt\.png'"),
    'two reductions': (own_reduce, {}, r'reduce_zero_label is True and that of the data set False'),
    'reduced classes': (None, dict(reduce_zero_label=True), r'0 is ignored.*nearest: reduce_zero_label=False'),
    'JPEG': (jpeg(halves(0, 90)), dict(seg_map_suffix='.jpg'), r'JPEG compression changes values'),
    'palette': (None, dict(metainfo=dict(classes=('a', 'b'), palette=[[0] * 3])), r'palette has 1 colours and .* 2 na'),
    'foreign class': (None, dict(type='CityscapesDataset'), r"'ground', and CityscapesDataset has 19 classes; nearest"),
    'softmax of one': (
        every(halves(0, 0)),
        dict(head=dict(SIGMOID, loss_decode=dict(type='CrossEntropyLoss'))),
        'soft',
    ),
    'ignored class': (None, dict(head=dict(num_classes=2, ignore_index=0)), r'nearest: ignore_index=255'),
    'not ignored': (one(halves(1, 255)), dict(head=dict(num_classes=2, ignore_index=0)), r'value 255 .*and 0 for pix'),
    'classes of val': (lambda _, c: c.val_dataloader.dataset.metainfo.update(classes=tuple('abc')), {}, r'3 classes'),
    'split with suffixes': (split(b'train0.jpg\n'), {}, r"names 'train0\.jpg'.*without suffix, nearest: 'train0'"),
    'split with an empty line': (split(b'train0\n\ntrain1\n'), {}, r'holds an empty line'),
    'split of other images': (split(b'train0\ntrain9\n'), {}, r"names 'train9'.*1 of 2 images are missing.*'train"),
    'split with BOM': (split(b'\xef\xbb\xbftrain0\n'), {}, r'byte order mark'),
    'empty split': (split(b''), {}, r'lists no image'),
    'no images': (lambda root, _: [path.unlink() for path in root.glob('img/train/*')], {}, r'holds no images'),
    'no image folder': (lambda root, _: shutil.rmtree(root / 'img/train'), {}, r"img/train' does not exist"),
    'no mask folder': (lambda root, _: shutil.rmtree(root / 'ann/train'), {}, r'nor does its folder'),
    'no loader of masks': (lambda _, c: c.val_dataloader.dataset.pipeline.pop(), {}, r'no LoadAnnotations, and val_ev'),
    'no mask prefix': (
        lambda _, c: c.train_dataloader.dataset.data_prefix.pop('seg_map_path'),
        {},
        r"no 'seg_map_path",
    ),
}
SILENT = {
    'valid': (None, {}),
    'palette PNG': (every(halves(0, 1), mode='P'), {}),
    '16 bits': (every(halves(0, 1, np.uint16)), {}),
    'one bit': (every(halves(0, 1).astype(bool)), {}),
    'ignored pixels': (one(halves(1, 255)), {}),
    'masks that a step resizes': (small_masks, {}),
    'reduced': (every(halves(1, 2)), dict(reduce_zero_label=True)),
    'one output of two classes': (None, dict(head=dict(SIGMOID, num_classes=2, out_channels=1))),
    'one sigmoid, two names': (None, dict(head=SIGMOID)),
    'split with CRLF': (split(b'train0\r\ntrain1\r\n'), {}),
    'no masks, no metric': (lambda _, c: [c.pop('val_evaluator'), c.val_dataloader.dataset.pipeline.pop()], {}),
}
REMARKED = {
    'ignored mask': (one(halves(255, 255)), {}, r'1 of 4 masks hold ignored pixels alone \(first: .*train3'),
    'JPEG': (jpeg(None), dict(seg_map_suffix='.jpg'), r'is a JPEG, whose compression may change'),
    'one class': (
        None,
        dict(head=SIGMOID, metainfo=dict(classes=('crack',))),
        r"with the one class 'crack', IoUMetric",
    ),
    'unused class': (
        None,
        dict(head=dict(num_classes=3), metainfo=dict(classes=tuple('abc'))),
        r"no pixel of class 'c'",
    ),
    'other suffix': (lambda root, _: image(root / 'img/train/x.png'), {}, r"1 images that do not end with .*'x\.png'"),
    'overlap': (
        lambda _, c: c.val_dataloader.dataset.update(data_prefix=c.train_dataloader.dataset.data_prefix),
        {},
        'of',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_data_that_would_fail_or_mislead_is_refused_in_one_sentence(tmp_path, name):
    change, arguments, sentence = REFUSED[name]
    with pytest.raises(ConfigError, match=sentence) as refusal:
        check(tmp_path, change, **arguments)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize('name', SILENT)
def test_valid_data_has_no_remark(tmp_path, name):
    change, arguments = SILENT[name]
    assert check(tmp_path, change, **arguments) == []


@pytest.mark.parametrize('name', REMARKED)
def test_suspicious_data_is_remarked(tmp_path, name):
    change, arguments, sentence = REMARKED[name]
    notes = check(tmp_path, change, **arguments)
    assert any(re.search(sentence, note) for note in notes), notes


@pytest.mark.parametrize('padding', [dict(size=(64, 64)), dict(size_divisor=32)])
def test_padding_that_counts_as_a_class_is_a_remark(tmp_path, padding):
    config = masks_config(tmp_path)
    config.model.data_preprocessor = dict(type='SegDataPreProcessor', seg_pad_val=0, **padding)
    (note,) = check_data_files(config)
    assert note.startswith('model.data_preprocessor.seg_pad_val is 0 and model.decode_head.ignore_index 255')


def test_a_member_of_several_data_sets_may_hold_one_class(tmp_path):
    config = masks_config(tmp_path)
    every(halves(0, 0), 'val')(tmp_path, config)
    members = [config.train_dataloader.dataset, dict(config.val_dataloader.dataset, test_mode=False)]
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=members)
    notes = check_data_files(config, ('train_dataloader',))
    assert len(notes) == 2
    assert 'val0.png' in notes[0] and 'hold the value 0 alone' in notes[0]


def test_a_sample_of_many_masks_says_how_many(tmp_path, monkeypatch):
    monkeypatch.setattr('kd_plugins.data_checks.segmentation.SECONDS', 0.0)
    config = masks_config(tmp_path, count=20)
    every(halves(0, 0), 'train')(tmp_path, config)
    notes = check_data_files(config)
    assert any('16 of 20 masks were read' in note for note in notes)
    assert any('all 16 masks hold the value 0 alone' in note for note in notes)


def test_folds_of_the_isbi_stack_map_their_values(tmp_path):
    from PIL import Image

    for index in range(4):
        for folder in ('image', 'label'):
            path = tmp_path / folder / f'{index}.png'
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(halves(0, 255)).save(path)
    config = masks_config(tmp_path)
    node = dict(type='kd_plugins.ISBIMembraneDataset', data_root=str(tmp_path), folds=2)
    config.train_dataloader.dataset = dict(node, pipeline=config.train_dataloader.dataset.pipeline)
    assert check_data_files(config, ('train_dataloader',)) == []
    Image.fromarray(halves(0, 1)).save(tmp_path / 'label' / '3.png')
    assert check_data_files(config, ('train_dataloader',)) == []
    Image.fromarray(halves(0, 7)).save(Path(tmp_path / 'label' / '3.png'))
    with pytest.raises(ConfigError, match=r'3\.png.* holds the value 7'):
        check_data_files(config, ('train_dataloader',))
