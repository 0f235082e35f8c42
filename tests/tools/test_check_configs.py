"""Which configs the gate checks, and what it finds in them."""

from importlib import import_module
from importlib.util import find_spec

import pytest
from mmengine.config import Config

from kd_plugins.config.loading import walk

check_configs = import_module('tools.setup.check_configs')
CONFIGS = check_configs.ROOT / 'configs'


def names(*patterns):
    return [path.name for path in check_configs.shipped_configs(patterns)]


def test_patterns_choose_configs():
    assert 'gfl_r18_bccd.py' in names() and 'gfl_r18.py' not in names()
    assert names('dwpose/rtmpose-', '*again') == [
        'rtmpose-s_lspet.py',
        'rtmpose-t_lspet.py',
        'gfl_r18_bccd_born-again.py',
    ]
    assert check_configs.main(['no such config']) == 1


def test_packages_of_bases_and_teachers_count():
    assert check_configs.needed_packages(CONFIGS / 'gfl' / 'gfl_r18_bccd.py') == ['mmdet']
    assert check_configs.needed_packages(CONFIGS / 'gfl' / 'gfl_lite0_bccd.py') == ['mmdet', 'timm']
    # MMPose by the runtime that it inherits.
    assert check_configs.needed_packages(CONFIGS / 'dwpose' / 'dwpose_t-t_lspet_stage2.py') == ['mmpose']
    assert check_configs.needed_packages(CONFIGS / 'chains' / 'dwpose_s-t_lspet.py') == ['mmpose']


def test_boxes_of_a_two_stage_detector_are_few():
    samplers = {'rcnn': [{'sampler': {'num': 512}}], 'rpn': {'sampler': {'num': 8}}}
    config = Config({'model': {'train_cfg': samplers}, 'default_hooks': {}})
    assert check_configs.less_work(config) == ['model.train_cfg.rcnn.0.sampler.num=64']


@pytest.mark.skipif(find_spec('mmdet') is None, reason='MMDetection is not installed')
@pytest.mark.parametrize('size', 'smlx')
def test_configs_without_a_step_have_the_network_of_one_with_a_step(size):
    folder = CONFIGS / 'dfine_native'

    def network(config):
        for _, node in walk(config.model):
            for key in ('num_classes', 'weights'):
                node.pop(key, None)
        return config.model.to_dict(), config.optim_wrapper.optimizer.type

    def hooks(config):
        return sorted((name, hook.type) for name, hook in config.default_hooks.items() if hook)

    paths = [path for pattern in check_configs.SAME_STEP for path in folder.glob(pattern)]
    names = [path.name for path in paths if path.name.startswith(f'dfine_{size}_')]
    assert len(names) == (2 if size == 's' else 3)
    for name in names:
        spared, small = (Config.fromfile(folder / one) for one in (name, name.replace(f'_{size}_', '_n_')))
        assert hooks(spared) == hooks(small), name
        assert network(spared) == network(Config.fromfile(folder / f'dfine_{size}_coco.py')), name


@pytest.mark.slow
def test_a_config_that_fails_is_named_and_the_status_says_so(tmp_path, monkeypatch, capsys):
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'wrong.py').write_text("model = dict(type='NoSuchModel')\n")
    monkeypatch.setattr(check_configs, 'ROOT', tmp_path)
    assert check_configs.main([]) == 1
    out = capsys.readouterr().out
    assert 'FAIL  configs/wrong.py: KeyError' in out and '1 configs failed' in out


@pytest.mark.skipif(find_spec('mmpose') is None, reason='MMPose is not installed')
@pytest.mark.slow
def test_a_second_stage_steps_without_the_first():
    assert check_configs.main(['dwpose_t-t_lspet_stage2.py']) == 0
