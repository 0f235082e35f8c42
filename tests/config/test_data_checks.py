"""Paths of data sets and evaluators, and numbers of classes, checked before a run."""

from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.commands.dispatch import DATA
from kd_plugins.config.data_checks import DATA_COMMANDS, check_classes, check_data, check_trainable, dataset_classes
from kd_plugins.datasets.sources import SOURCES
from kd_plugins.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'data' / 'images').mkdir(parents=True)
    (tmp_path / 'data' / 'train.json').write_text('{}')
    return tmp_path / 'data'


def make_config(root, **changes):
    dataset = {
        'type': 'CocoDataset',
        'data_root': f'{root}/',
        'ann_file': 'train.json',
        'data_prefix': {'img': 'images/'},
    }
    return Config({'train_dataloader': {'dataset': {**dataset, **changes}}})


def test_data_that_exists_passes(root):
    check_data(make_config(root))


@pytest.mark.parametrize(
    'changes, sentence',
    [
        ({'data_root': 'nowhere/'}, r"dataset\.data_root: 'nowhere' does not exist"),
        ({'ann_file': 'trian.json'}, r"ann_file: .*trian\.json' does not exist; nearest: 'train\.json'"),
        ({'data_prefix': {'img': 'image/'}}, r"data_prefix\.img: .*nearest: 'images'"),
    ],
)
def test_a_missing_path_is_named(root, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_data(make_config(root, **changes))


def test_data_sets_inside_wrappers_are_checked():
    inner = {'type': 'CocoDataset', 'data_root': 'nowhere/', 'ann_file': 'a.json'}
    wrapped = {'dataset': {'type': 'RepeatDataset', 'dataset': {'type': 'ConcatDataset', 'datasets': [inner]}}}
    with pytest.raises(ConfigError, match=r'dataset\.dataset\.datasets\.0\.data_root'):
        check_data(Config({'train_dataloader': wrapped}))


def test_remote_data_is_left_alone():
    remote = {'type': 'CocoDataset', 'data_root': 's3://bucket/x/', 'ann_file': 's3://bucket/x/a.json'}
    check_data(Config({'train_dataloader': {'dataset': remote}}))


def test_only_the_loaders_that_are_used_are_checked(root):
    config = make_config(root)
    config.val_dataloader = {'dataset': {'type': 'CocoDataset', 'data_root': 'nowhere/'}}
    check_data(config, ('train_dataloader',))


def test_data_sets_of_an_evaluator_are_below_their_root(root):
    """MMPose's MultiDatasetEvaluator lists the data sets of its metrics."""
    (root / 'val.json').write_text('{}')
    dataset = {'type': 'CocoDataset', 'data_root': str(root), 'ann_file': 'val.json'}
    evaluator = {'type': 'MultiDatasetEvaluator', 'metrics': [{'type': 'CocoMetric'}], 'datasets': [dataset]}
    check_data(Config({'val_dataloader': {}, 'val_evaluator': evaluator}))


def test_annotations_of_the_evaluator_are_checked(root):
    config = Config({'val_dataloader': {}, 'val_evaluator': [{'type': 'CocoMetric', 'ann_file': f'{root}/vall.json'}]})
    with pytest.raises(ConfigError, match=r'val_evaluator\.0\.ann_file'):
        check_data(config)


def test_the_environment_variable_that_sets_a_root_is_named(tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(
        "root = '{{$MY_ROOT:nowhere}}'\ntrain_dataloader = dict(dataset=dict(type='A', data_root=root, ann_file='a'))\n"
    )
    with pytest.raises(ConfigError, match='environment variable MY_ROOT'):
        check_data(Config.fromfile(path))


def test_of_several_variables_the_data_root_is_named(tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(
        "fold = int('{{$MY_FOLD:0}}')\nload_from = '{{$MY_STUDENT:work_dirs/x.pth}}'\nroot = '{{$MY_ROOT:nowhere}}'\n"
        "train_dataloader = dict(dataset=dict(type='A', data_root=root, ann_file='a'))\n"
    )
    with pytest.raises(ConfigError, match=r'with the environment variable MY_ROOT, or --cfg-options'):
        check_data(Config.fromfile(path))


@pytest.mark.parametrize(('variable', 'sentence'), DATA_COMMANDS.items())
def test_the_command_that_gets_the_data_is_named(tmp_path, monkeypatch, variable, sentence):
    bases = [path for path in (CONFIGS / '_base_' / 'datasets').glob('*.py') if f'${variable}:' in path.read_text()]
    assert bases
    monkeypatch.setenv(variable, str(tmp_path / 'absent'))
    for base in bases:
        with pytest.raises(ConfigError, match=rf"absent' does not exist; {sentence}; set it with .* {variable}, or"):
            check_data(Config.fromfile(base))


def test_every_command_that_is_named_exists():
    names = {sentence.split()[2] for sentence in DATA_COMMANDS.values()}
    assert names <= {*DATA.commands, *SOURCES}


def test_a_model_that_is_switched_off_has_no_classes():
    check_classes(Config({'model': None}))


def test_a_wrong_number_of_classes_names_both_numbers(root):
    config = make_config(root, metainfo={'classes': ('a', 'b')})
    config.default_scope = 'mmdet'
    config.model = {
        'type': 'X',
        'roi_head': {'bbox_head': [{'type': 'Y', 'num_classes': 2}]},
        'rpn_head': {'num_classes': 1},
    }
    check_classes(config)
    config.model.roi_head.bbox_head[0].num_classes = 80
    with pytest.raises(
        ConfigError, match=r'model\.roi_head\.bbox_head\.0\.num_classes is 80, but .* 2 classes \(a, b\)'
    ):
        check_classes(config)


@pytest.mark.parametrize(
    ('scope', 'model', 'sentence'),
    [
        ('mmseg', {'decode_head': {'num_classes': 19}}, r'model\.decode_head\.num_classes is 19, but .* 2 classes'),
        (
            'mmseg',  # the auxiliary head is easily forgotten
            {'decode_head': {'num_classes': 2}, 'auxiliary_head': [{'num_classes': 2}, {'num_classes': 19}]},
            r'model\.auxiliary_head\.1\.num_classes is 19',
        ),
        ('mmseg', {'auxiliary_head': {'type': 'STDCHead', 'num_classes': 1}}, None),
        ('mmdet3d', {'bbox_head': {'type': 'Anchor3DHead', 'num_classes': 3}}, r'bbox_head\.num_classes is 3'),
        ('mmdet3d', {'roi_head': {'bbox_head': {'type': 'PointRCNNBboxHead', 'num_classes': 1}}}, None),
        ('mmdet', {'bbox_head': {'type': 'mmdet.GroundingDINOHead', 'num_classes': 256}}, None),
        ('mmpretrain', {'head': {'num_classes': 1000}}, None),
    ],
)
def test_class_counts_of_the_heads_of_each_scope(root, scope, model, sentence):
    config = make_config(root, metainfo={'classes': ('a', 'b')})
    config.default_scope = scope
    config.model = {'type': 'X', **model}
    if sentence is None:
        check_classes(config)
    else:
        with pytest.raises(ConfigError, match=sentence):
            check_classes(config)


def test_classes_default_to_those_of_the_dataset_type(root):
    pytest.importorskip('mmdet.datasets')
    assert len(dataset_classes(make_config(root, type='mmdet.CocoDataset')) or ()) == 80
    config = make_config(root, type='CocoDataset')
    assert dataset_classes(config) is None  # without a scope, the registry does not know this type
    config.default_scope = 'mmdet'
    assert len(dataset_classes(config) or ()) == 80
    config.model = {'type': 'X', 'bbox_head': {'num_classes': 3}}
    with pytest.raises(ConfigError, match=r'bbox_head\.num_classes is 3, but .* 80 classes \(person, '):
        check_classes(config)


def test_detection_heads_predict_the_things_of_a_panoptic_data_set(root):
    pytest.importorskip('mmdet.datasets')
    config = make_config(root, type='CocoPanopticDataset')
    config.default_scope = 'mmdet'
    assert len(dataset_classes(config) or ()) == 80


def test_class_names_may_come_from_a_file(root, tmp_path):
    names = tmp_path / 'classes.txt'
    names.write_text('a\nb\n')
    config = make_config(root, metainfo={'classes': str(names)})
    assert dataset_classes(config) == ('a', 'b')
    config.default_scope = 'mmdet'
    config.model = {'bbox_head': {'num_classes': 2}}
    check_classes(config)


def test_the_classes_of_every_loader_that_is_used_are_compared(root):
    config = make_config(root, metainfo={'classes': ('a', 'b')})
    config.default_scope = 'mmdet'
    config.model = {'bbox_head': {'num_classes': 2}}
    config.test_dataloader = {'dataset': dict(type='mmdet.CocoDataset', data_root=f'{root}/')}
    check_classes(config)
    with pytest.raises(ConfigError, match=r'is 2, but test_dataloader\.dataset has 80 classes'):
        check_classes(config, ('test_dataloader',))


def test_a_config_of_mmdetection_2_is_told_from_an_incomplete_one():
    old = dict(model=dict(type='GFL'), data=dict(train=dict()), optimizer=dict(type='SGD'), runner=dict(max_epochs=12))
    with pytest.raises(ConfigError, match="has no 'train_dataloader' but 'optimizer', a key of OpenMMLab's packages"):
        check_trainable(Config(old), 'old.py')
    with pytest.raises(ConfigError, match="'new.py' has no 'train_dataloader', so it cannot be trained"):
        check_trainable(Config(dict(model=dict(type='GFL'))), 'new.py')
