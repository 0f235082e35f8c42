"""Entries that load pretrained weights, wherever they stand."""

from __future__ import annotations

from typing import Any

from kd_plugins.config.pretrained import strip_pretrained


def test_every_form_is_removed() -> None:
    constant, file = {'type': 'Constant', 'val': 0}, {'type': 'Pretrained', 'checkpoint': 'a.pth'}
    model: dict[str, Any] = {
        'pretrained': 'b.pth',
        'backbone': {'type': 'kd_plugins.TimmBackbone', 'weights': 'c.pth', 'init_cfg': [constant, file]},
        'neck': {'type': 'FPN', 'init_cfg': [dict(file)]},
        'head': {'type': 'GFLHead', 'init_cfg': constant, 'weights': [1.0]},
    }
    assert list(strip_pretrained(model)) == [
        'model.pretrained (b.pth)',
        'model.backbone.init_cfg (a.pth)',
        'model.backbone.weights (c.pth)',
        'model.neck.init_cfg (a.pth)',
    ]
    assert model['backbone']['init_cfg'] == [constant] and model['neck']['init_cfg'] is None
    assert model['head'] == {'type': 'GFLHead', 'init_cfg': constant, 'weights': [1.0]}
