"""Small configs that controls are made of; nothing of them is built."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config


def detector(loss: dict[str, Any], distill: dict[str, Any] | None = None, **head: Any) -> Config:
    values: dict[str, Any] = {
        'model': {'type': 'A', 'bbox_head': {'type': 'Head', 'loss_cls': loss, 'reg': 1, **head}},
        'train_cfg': {'max_epochs': 3},
    }
    if distill is not None:
        values['default_hooks'] = {'distill': {'type': 'kd_plugins.DistillHook', **distill}}
    return Config(values)


def teacher(**others: Any) -> dict[str, Any]:
    model = {'type': 'B', 'backbone': {'init_cfg': {'type': 'Pretrained', 'checkpoint': 'x.pth'}, 'depth': 50}}
    config = {'model': model, 'default_scope': 'mmdet', 'train_cfg': {'max_epochs': 9}}
    return {'type': 'kd_plugins.FrozenTeacher', 'config': config, 'checkpoint': 'big.pth', **others}
