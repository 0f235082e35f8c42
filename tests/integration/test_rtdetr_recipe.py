"""The recipes of configs/rtdetr against the release: groups of parameters, length, sizes, warm-up, average.

The expected numbers and regular expressions are those of lyuwenyu/RT-DETR, ``rtdetr_pytorch/configs/rtdetr`` and
``rtdetrv2_pytorch/configs/rtdetrv2``.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmdet')

from mmdet.utils import register_all_modules
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.conversion.names import RTDETR, translate
from tests.conversion.rtdetr_files import first_name

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'rtdetr'
RATE, DECAY, SLOW = 1e-4, 1e-4, 1e-5
# Regular expression, rate and decay of each group; the rest has the common rate and decay.
GROUPS = {
    'rtdetr_r18vd_6x_coco': [
        (r'^(?=.*backbone)(?=.*norm).*$', SLOW, 0.0),
        (r'^(?=.*backbone)(?!.*norm).*$', SLOW, DECAY),
        (r'^(?=.*(?:encoder|decoder))(?=.*(?:norm|bias)).*$', RATE, 0.0),
    ],
    'rtdetr_r50vd_6x_coco': [
        (r'backbone', SLOW, DECAY),
        (r'^(?=.*encoder(?=.*bias|.*norm.*weight)).*$', RATE, 0.0),
        (r'^(?=.*decoder(?=.*bias|.*norm.*weight)).*$', RATE, 0.0),
    ],
    'rtdetrv2_r18vd_120e_coco': [(r'^(?=.*(?:norm|bn)).*$', RATE, 0.0)],
}
# Norms without the word in their names in the first release, so that it decays their weights.
NAMELESS = re.compile(r'(encoder\.input_proj\.\d|decoder\.enc_output)\.1\.weight')


@pytest.mark.parametrize('name', list(GROUPS))
def test_groups_have_rates_and_decays_of_the_release(name: str) -> None:
    register_all_modules(init_default_scope=False)
    config = Config.fromfile(FOLDER / f'{name}.py')
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        model = MODELS.build(config.model)
    settings = copy.deepcopy(config.optim_wrapper)
    groups = DefaultOptimWrapperConstructor(settings, settings.pop('paramwise_cfg'))(model).optimizer.param_groups
    names = {id(value): key for key, value in model.named_parameters()}
    actual = {names[id(value)]: (group['lr'], group['weight_decay']) for group in groups for value in group['params']}
    assert actual.keys() == {key for key, value in model.named_parameters() if value.requires_grad}
    nameless = 0
    for key, got in actual.items():
        official = str(translate(key, model.decoder.num_layers, 'own', 'release', RTDETR))
        official = official if name.startswith('rtdetrv2') else first_name(official)
        fitting = (group[1:] for group in GROUPS[name] if re.search(group[0], official))
        rate, decay = next(fitting, (RATE, DECAY))
        if NAMELESS.fullmatch(official):
            nameless, decay = nameless + 1, 0.0
        assert got == (pytest.approx(rate), decay), official
    assert nameless == (0 if name.startswith('rtdetrv2') else 4)
    assert settings.clip_grad == dict(norm_type=2, max_norm=0.1)


@pytest.mark.parametrize('name', list(GROUPS))
def test_lengths_and_sizes_are_those_of_the_release(name: str) -> None:
    config, second = Config.fromfile(FOLDER / f'{name}.py'), name.startswith('rtdetrv2')
    assert config.train_cfg.max_epochs == (120 if second else 72)
    assert config.auto_scale_lr.base_batch_size == 4 * config.train_dataloader.batch_size == 16
    assert (config.default_hooks.ema.type, config.default_hooks.ema.gamma) == ('kd_plugins.FittedEMAHook', 2000)
    augments = config.model.data_preprocessor.get('batch_augments') or []
    if second:
        warm_up, stage = config.param_scheduler[0], config.default_hooks.second_stage
        assert not augments and (stage.stop_epoch, stage.reload_best) == (117, False)
        assert (warm_up.start_factor, warm_up.end) == (1 / 2000, 2000)
    else:
        others = dict.fromkeys((480, 512, 544, 576, 608, 672, 704, 736, 768, 800), 1)
        assert Counter(augments[0]['sizes']) == {**others, 640: 3} and augments[0].get('stop_epoch') is None
        assert not config.param_scheduler and 'second_stage' not in config.default_hooks
