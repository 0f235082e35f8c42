from __future__ import annotations

import pytest

from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

from .made import coco_config, content, write
from .made import image as made_image

pytest.importorskip('mmdet')


def evaluated(tmp_path, file):
    config = coco_config(tmp_path)
    config.val_evaluator.ann_file = write(tmp_path / 'other.json', file)
    return config


@pytest.mark.parametrize(
    ('file', 'sentence'),
    [
        (
            content(images=3, first=10),
            r"val_evaluator\.ann_file: '.*other\.json' has no image 4 \('13\.jpg'\), .* nearest: ",
        ),
        (content(images=4, first=20), r"image 1 is '20\.jpg' in .* and '10\.jpg' in val_dataloader"),
        (content(images=5, first=10), r'has 5 images and .* 4, so that objects of image 5 count as missed'),
        (content(('dog', 'cat'), first=10), r"other\.json' lists categories in the order \('dog', 'cat'\)"),
    ],
)
def test_the_file_of_the_evaluator_is_that_of_the_data_set(tmp_path, file, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_data_files(evaluated(tmp_path, file))


def test_a_copy_of_the_file_is_accepted(tmp_path):
    assert not check_data_files(evaluated(tmp_path, content(first=10)))


def test_a_part_of_the_data_set_is_a_note(tmp_path):
    """CocoMetric evaluates all images of its file, so that objects of the other images count as missed."""
    config = evaluated(tmp_path, content(images=5, first=10))
    config.val_dataloader.dataset.indices = 2
    (note,) = check_data_files(config)
    assert note.startswith('val_dataloader.dataset.indices takes 2 images, and val_evaluator.ann_file has 5')


def test_metrics_are_those_of_evaluator_and_model(tmp_path):
    config = coco_config(tmp_path)
    config.val_evaluator.metric = 'box'
    with pytest.raises(ConfigError, match="val_evaluator.metric is 'box'; nearest: 'bbox'"):
        check_data_files(config)
    config.model = dict(type='mmdet.GFL')
    config.val_evaluator.metric = ['bbox', 'segm']
    with pytest.raises(ConfigError, match="model.type 'GFL' predicts no masks; nearest: metric='bbox'"):
        check_data_files(config)


def test_annotations_come_from_a_file_or_the_pipeline(tmp_path):
    config = coco_config(tmp_path)
    file = config.val_evaluator.pop('ann_file')
    config.val_dataloader.dataset.pipeline = [dict(type='PackDetInputs', meta_keys=('img_id',))]
    with pytest.raises(ConfigError, match=f"ann_file is not set, .*nearest: val_evaluator.ann_file='{file}'"):
        check_data_files(config)
    config.val_dataloader.dataset.pipeline[0].meta_keys = ('img_id', 'instances')
    assert not check_data_files(config)


def test_images_of_training_and_validation_are_compared(tmp_path):
    (note,) = check_data_files(coco_config(tmp_path, val=content(first=3)))
    assert '1 of 4 files of val_dataloader are also files of train_dataloader' in note
    assert '3.jpg' in note


def joined(tmp_path, evaluator):
    """Return a config whose validation has the members ``val.json`` and ``more.json``."""
    config = coco_config(tmp_path, val=content(first=10))
    more = content(images=3, first=20)
    for image in more['images']:
        image['id'] += 4
    for entry in more['annotations']:
        entry.update(id=entry['id'] + 8, image_id=entry['image_id'] + 4)
    merged = {**more, **{name: content(first=10)[name] + more[name] for name in ('images', 'annotations')}}
    write(tmp_path / 'more.json', more), write(tmp_path / 'merged.json', merged)
    for entry in more['images']:
        made_image(tmp_path / 'images' / entry['file_name'])
    member = config.val_dataloader.dataset
    config.val_dataloader.dataset = dict(type='ConcatDataset', datasets=[member, dict(member, ann_file='more.json')])
    config.val_evaluator = evaluator
    return config


def test_one_file_may_hold_the_images_of_all_members(tmp_path):
    metric = dict(type='CocoMetric', metric='bbox')
    assert not check_data_files(joined(tmp_path, dict(metric, ann_file=f'{tmp_path}/merged.json')))
    for kind in ('CocoMetric', 'kd_plugins.ClassGroupCocoMetric'):
        with pytest.raises(ConfigError, match=r"more\.json' has no image 1|val\.json' has no image 5"):
            check_data_files(joined(tmp_path, dict(metric, type=kind, ann_file=f'{tmp_path}/val.json')))
    config = joined(tmp_path, dict(metric, ann_file=f'{tmp_path}/merged.json'))
    config.val_dataloader.dataset.datasets.pop()
    with pytest.raises(ConfigError, match='has 7 images and .* 4, so that objects of image 5 count as missed'):
        check_data_files(config)


def test_each_member_may_have_a_metric_of_its_own(tmp_path):
    """As with MMDetection's MultiDatasetsEvaluator, whose metrics are in the order of the members."""
    metrics = [dict(type='CocoMetric', ann_file=f'{tmp_path}/{name}.json') for name in ('val', 'more')]
    evaluator = dict(type='MultiDatasetsEvaluator', metrics=metrics, dataset_prefixes=['a', 'b'])
    assert not check_data_files(joined(tmp_path, evaluator))
    evaluator['metrics'] = metrics[::-1]
    with pytest.raises(ConfigError, match=r"val_evaluator\.metrics\.0\.ann_file: '.*more\.json' has no image 1"):
        check_data_files(joined(tmp_path, evaluator))


def test_classes_in_the_place_of_their_names(tmp_path):
    """Configs of MMEngine's Python style hold the classes themselves."""
    from mmdet.datasets.transforms import PackDetInputs
    from mmdet.evaluation import CocoMetric

    config = coco_config(tmp_path, pipeline=[dict(type=PackDetInputs, meta_keys=('img_id',))])
    config.val_evaluator = dict(type=CocoMetric, metric='box')
    with pytest.raises(ConfigError, match="val_evaluator.metric is 'box'"):
        check_data_files(config)
    config.val_evaluator.metric = 'bbox'
    with pytest.raises(ConfigError, match="meta_keys of PackDetInputs lack 'instances'"):
        check_data_files(config)
