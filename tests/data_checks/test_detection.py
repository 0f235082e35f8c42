from __future__ import annotations

import pytest

from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

from .made import coco_config, content

pytest.importorskip('mmdet')


def changed(field, value, index=0, kind='annotations'):
    file = content()
    if value is None:
        for entry in file[kind][index:]:
            entry.pop(field)
    else:
        file[kind][index][field] = value
    return file


@pytest.mark.parametrize(
    ('file', 'sentence'),
    [
        (changed('area', None), r"train\.json': annotation 1 \(and 7 more\) has no 'area'; .* width times height"),
        (changed('bbox', None, 7), "annotation 8 has no 'bbox'"),
        (changed('bbox', [1, 2, 3]), r'annotation 1 has the bbox \[1, 2, 3\]; .* four finite numbers'),
        (changed('bbox', [1, 2, 3, float('nan')]), 'annotation 1 has the bbox .*four finite numbers'),
        (changed('bbox', ['1', '2', '3', '4'], 2), 'annotation 3 has the bbox .*four finite numbers'),
        (changed('area', 'large', 3), "annotation 4 has the area 'large'"),
    ],
)
def test_fields_that_the_loader_reads_are_required(tmp_path, file, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_data_files(coco_config(tmp_path, train=file))


@pytest.mark.parametrize(
    ('names', 'sentence'),
    [
        (
            ('Cat', 'Dog'),
            r"metainfo\.classes holds 'cat', 'dog', which '.*\.json' does not have .* nearest: 'Cat'",
        ),
        (('cat', 'dogs'), "holds 'dog', .* nearest: 'dogs'"),
        (('dog', 'cat'), r"is \('cat', 'dog'\), and .* in the order \('dog', 'cat'\), from which MMDetection"),
    ],
)
@pytest.mark.parametrize('part', ['train', 'val'])
def test_class_names_are_those_of_the_file_in_its_order(tmp_path, names, sentence, part):
    file = content(names, first=0 if part == 'train' else 10)
    with pytest.raises(ConfigError, match=sentence):
        check_data_files(coco_config(tmp_path, **{part: file}))


def test_without_class_names_those_of_coco_count(tmp_path):
    with pytest.raises(ConfigError, match=r"is not set, .* write the names of the file, classes=\('cat', 'dog',\)"):
        check_data_files(coco_config(tmp_path, metainfo={}))


@pytest.mark.parametrize('field', ['iscrowd', 'area'])
def test_fields_that_the_evaluator_reads_are_required(tmp_path, field):
    file = content(first=10)
    for entry in file['annotations']:
        del entry[field]
    with pytest.raises(ConfigError, match=rf"val\.json': annotation 1 \(and 7 more\) has no '{field}'"):
        check_data_files(coco_config(tmp_path, val=file))


def test_masks_are_required_where_they_are_read(tmp_path):
    file = content()
    del file['annotations'][2]['segmentation']
    config = coco_config(tmp_path, train=file)
    check_data_files(config)
    config.train_dataloader.dataset.pipeline = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    with pytest.raises(ConfigError, match=r"annotation 3 has no 'segmentation'; .* with_mask=True; add masks, or use"):
        check_data_files(config)
    file['annotations'][2]['segmentation'] = [[1, 2, 3, 4]]
    config = coco_config(tmp_path, val=dict(file, images=content(first=10)['images']))
    config.val_evaluator.metric = ['bbox', 'segm']
    with pytest.raises(ConfigError, match=r'annotation 3 has the segmentation \[\[1, 2, 3, 4\]\]; valid: polygons'):
        check_data_files(config)


def test_boxes_in_parts_of_the_image_or_as_corners_are_refused(tmp_path):
    file = content()
    for entry in file['annotations']:
        entry['bbox'] = [0.1, 0.1, 0.5, 0.5]
    with pytest.raises(ConfigError, match=r'none of 8 annotations counts .* multiply them by width and height'):
        check_data_files(coco_config(tmp_path, train=file))
    for entry in file['annotations']:
        entry['bbox'] = [30, 30, 60, 60]
    with pytest.raises(ConfigError, match='8 of 8 boxes reach beyond .* corners x1, y1, x2, y2; write x, y, width'):
        check_data_files(coco_config(tmp_path, train=file))


def test_boxes_that_are_left_out_are_notes(tmp_path):
    file = content()
    file['annotations'][0]['bbox'] = [100, 100, 5, 5]
    file['annotations'][1]['bbox'] = [10, 10, 0, 5]
    file['annotations'][2]['area'] = 0
    notes = check_data_files(coco_config(tmp_path, train=file))
    assert len(notes) == 3
    for note, part, first in zip(
        notes, ('outside their image', 'a side below one pixel', 'no positive area'), (1, 2, 3)
    ):
        assert part in note
        assert '1 of 8 boxes' in note and f'annotation {first}' in note


def test_categories_that_are_no_class_and_classes_without_object_are_notes(tmp_path):
    file = content(('cat', 'dog', 'bird'))
    file['annotations'][0]['category_id'] = 3
    (note,) = check_data_files(coco_config(tmp_path, train=file))
    assert "1 annotations of 'bird' are left out" in note
    file = content()
    for entry in file['annotations']:
        entry['category_id'] = 1
    assert "has no object of 'dog'" in check_data_files(coco_config(tmp_path, train=file))[0]


def test_a_training_file_without_annotations_is_refused(tmp_path):
    file = content()
    file['annotations'] = []
    with pytest.raises(ConfigError, match='no annotations, so that nothing can be learnt'):
        check_data_files(coco_config(tmp_path, train=file))
    val = content(first=10)
    del val['annotations']
    with pytest.raises(ConfigError, match=r'val_evaluator cannot measure anything; nearest: format_only=True'):
        check_data_files(coco_config(tmp_path, val=val))
    config = coco_config(tmp_path, val=val)
    config.val_evaluator.format_only = True
    check_data_files(config)


@pytest.mark.parametrize(
    ('field', 'value', 'sentence'),
    [
        ('bbox', [1, '2', 3, 4], r"train.json': annotation 1 has the bbox \[1, '2', 3, 4\]"),
        ('iscrowd', '0', r"train.json': annotation 1 has the iscrowd '0'"),
        ('area', '400', r"train.json': annotation 1 has the area '400'"),
    ],
)
def test_texts_where_numbers_belong_are_refused(tmp_path, field, value, sentence):
    file = content()
    file['annotations'][0][field] = value
    with pytest.raises(ConfigError, match=sentence):
        check_data_files(coco_config(tmp_path, train=file))


def test_a_training_file_of_crowds_alone_is_refused(tmp_path):
    file = content()
    for entry in file['annotations']:
        entry['iscrowd'] = 1
    with pytest.raises(ConfigError, match='all 8 annotations have iscrowd 1, which MMDetection ignores'):
        check_data_files(coco_config(tmp_path, train=file))


def test_two_categories_of_one_name_are_refused(tmp_path):
    file = content(('cat', 'dog', 'dog'))
    with pytest.raises(ConfigError, match="2 categories with the name 'dog', so that labels exceed"):
        check_data_files(coco_config(tmp_path, train=file))


@pytest.mark.parametrize(('area', 'text'), [(1.0, 'less than a hundredth of'), (5000.0, 'larger than')])
def test_areas_that_do_not_fit_the_boxes_are_a_note(tmp_path, area, text):
    file = content()
    for entry in file['annotations']:
        entry['area'] = area
    (note,) = check_data_files(coco_config(tmp_path, train=file))
    assert f'8 of 8 annotations have an area {text} width times height of the bbox (first: annotation 1' in note


def test_an_annotation_with_the_id_0_counts_as_missed(tmp_path):
    """COCOeval keeps the id of the matched object, and takes 0 for no match."""
    file = content(first=10)
    file['annotations'][0]['id'] = 0
    (note,) = check_data_files(coco_config(tmp_path, val=file))
    assert "val.json': an annotation has the id 0, so that val_evaluator counts its object as missed" in note


def test_a_data_set_without_an_image_left_is_refused(tmp_path):
    config = coco_config(tmp_path, filter_cfg=dict(min_size=100))
    with pytest.raises(
        ConfigError, match=r'train_dataloader.dataset.filter_cfg.min_size is 100, .* nearest: min_size=64'
    ):
        check_data_files(config)
    with pytest.raises(ConfigError, match='train_dataloader.dataset.indices is 0, so that no image is left'):
        check_data_files(coco_config(tmp_path, indices=0))
