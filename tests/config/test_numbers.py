"""Text where a number belongs."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.config.numbers import check_numbers
from kd_plugins.errors import ConfigError

CONFIG: dict[str, Any] = dict(
    optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
        clip_grad=dict(max_norm=35, norm_type=2),
        paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
    ),
    param_scheduler=[dict(type='LinearLR', start_factor=0.1, end=500), dict(type='MultiStepLR', milestones=[8, 11])],
    train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12),
)


@pytest.mark.parametrize(
    ('key', 'sentence'),
    [
        ('optim_wrapper.optimizer.lr', "is 'fast'; give a number"),
        ('optim_wrapper.optimizer.momentum', "is 'fast'; give a number"),
        ('optim_wrapper.optimizer.dampening', "is 'fast'; give a number, such as 0"),
        ('optim_wrapper.accumulative_counts', "is 'fast'; give a number, such as 1"),
        ('optim_wrapper.clip_grad.max_norm', "is 'fast'; give a number"),
        ('optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult', "is 'fast'; give a number, such as 1.0"),
        ('param_scheduler.1.gamma', "is 'fast'; give a number, such as 0.1"),
        ('param_scheduler.0.begin', "is 'fast'; give a number, such as 0"),
        ('train_cfg.max_epochs', "is 'fast'; give a number"),
    ],
)
def test_text_is_refused(key: str, sentence: str) -> None:
    config = Config(CONFIG)
    check_numbers(config)
    config.merge_from_dict({key: 'fast'})
    with pytest.raises(ConfigError, match=f'^{key} {sentence}'):
        check_numbers(config)


def test_what_is_not_known_is_left_to_the_run() -> None:
    check_numbers(Config({}))
    unknown = dict(optimizer=dict(type='NoSuch', decay='cosine', lr=0.1), loss_scale='dynamic', type='AmpOptimWrapper')
    check_numbers(Config(dict(optim_wrapper=unknown, param_scheduler=dict(type='NoSuch', end='last'))))
    with pytest.raises(ConfigError, match="^optim_wrapper.generator.optimizer.lr is '1e-3'; give a number"):
        optimizer = dict(type='NoSuch', lr='1e-3')
        check_numbers(Config(dict(optim_wrapper=dict(constructor='Own', generator=dict(optimizer=optimizer)))))
