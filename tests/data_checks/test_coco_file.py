from __future__ import annotations

import gzip
import json

import pytest

from kd_plugins.data_checks.coco_file import file_notes, read_coco
from kd_plugins.errors import ConfigError

from .made import content, write


def read(tmp_path, change=None):
    value = content()
    if change is not None:
        value = change(value) or value
    return read_coco(write(tmp_path / 'a.json', value))


def test_a_valid_file_is_read(tmp_path):
    file = read(tmp_path)
    assert (len(file.images), len(file.annotations), file.names) == (4, 8, ['cat', 'dog'])
    assert not file_notes(file)


@pytest.mark.parametrize(
    ('raw', 'sentence'),
    [
        (b'\xef\xbb\xbf{}', r'a\.json.* byte order mark .* UTF-8 without BOM'),
        (b'{"images": [', r'not json at line 1, column 13.* cut off'),
        ('{"images": "ü"}'.encode('latin-1'), 'not UTF-8 at byte 12'),
        (b'[]', 'holds a list .* detections'),
        (b'null', 'holds null'),
        (b' \n', 'is empty'),
        (gzip.compress(b'{}', mtime=0), 'is compressed, .* unpack it'),
        (b'{"images": [], "categories": []}', "the list 'images' is empty"),
        (b'{"images": []}', "no 'categories'; its keys are 'images'"),
        (b'{"images": 3, "categories": []}', "'images' is not a list of objects"),
    ],
)
def test_a_file_that_is_no_coco_file_is_refused(tmp_path, raw, sentence):
    path = tmp_path / 'a.json'
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=sentence):
        read_coco(str(path))


def same(kind, value):
    def change(file):
        for entry in file[kind][1:]:
            entry['id'] = value

    return change


def put(kind, field, value, index=1):
    def change(file):
        file[kind][index][field] = value

    return change


def drop(kind, field, index=1):
    def change(file):
        del file[kind][index][field]

    return change


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (same('images', 2), r'the image id 2 occurs 3 times \(2 ids'),
        (same('annotations', 7), 'the annotation id 7 occurs 7 times'),
        (same('categories', 1), 'the category id 1 occurs 2 times'),
        (drop('annotations', 'id'), "annotation number 1 has no 'id'"),
        (put('images', 'id', 1.5), 'image has the id 1.5'),
        (put('annotations', 'id', 'a'), "annotation has the id 'a', a text, and 7 others are numbers"),
        (put('categories', 'name', None), 'category 2 has the name None'),
        (drop('categories', 'name'), "category 2 has no 'name'"),
        (drop('images', 'width'), "image 2 has no 'width'"),
        (put('images', 'width', 0), 'image 2 has the width 0'),
        (put('images', 'height', '64'), "image 2 has the height '64'; it must be a finite number"),
        (put('images', 'file_name', 3), 'image 2 has the file_name 3'),
        (put('annotations', 'category_id', 0), 'annotation 2 has the category_id 0, .* valid: 1, 2'),
        (put('annotations', 'image_id', '1'), "annotation 2 has the image_id '1', .* like 1"),
        (drop('annotations', 'image_id'), "annotation 2 has no 'image_id'"),
    ],
)
def test_entries_that_no_reader_can_use_are_refused(tmp_path, change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        read(tmp_path, change)


def test_whole_numbers_may_be_written_with_a_point(tmp_path):
    assert read(tmp_path, put('annotations', 'id', 2.0)).annotations[1]['id'] == 2


def test_annotations_of_other_images_and_equal_names_are_notes(tmp_path):
    def change(file):
        file['annotations'][0]['image_id'] = 99
        file['images'][1]['file_name'] = '0.jpg'

    lost, twice = file_notes(read(tmp_path, change))
    assert '1 annotations belong to images that the file does not list (first: annotation 1, image_id 99)' in lost
    assert "first: '0.jpg'" in twice


def test_nan_is_json_for_python_but_no_number(tmp_path):
    value = json.dumps(content()).replace('"width": 64', '"width": NaN', 1)
    (tmp_path / 'a.json').write_text(value)
    with pytest.raises(ConfigError, match='image 1 has the width nan'):
        read_coco(str(tmp_path / 'a.json'))
