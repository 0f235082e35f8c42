from __future__ import annotations

from mmengine.config import Config

from kd_plugins.data_checks.context import Context

from .made import content, write


def test_a_file_is_read_once(tmp_path):
    context, path = Context(Config({})), write(tmp_path / 'a.json', content())
    file = context.coco_file(path)
    write(tmp_path / 'a.json', content(images=1))
    assert context.coco_file(path) is file and len(file.images) == 4


def test_what_is_asked_twice_is_new_once():
    context = Context(Config({}))
    assert [context.is_new(('folder', 'a.json')) for _ in range(2)] == [True, False]
