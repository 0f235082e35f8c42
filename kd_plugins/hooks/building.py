"""Build the network of a run's config a second time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from torch import nn


def model_builder(runner: Any) -> Callable[[], nn.Module] | None:
    """Return a function that builds the network of the run's config, with new weights.

    It draws random numbers, so call it with forked generators.

    Args:
        runner: MMEngine's runner.

    Returns:
        ``None`` where the run got a model object and no config.
    """
    config = runner.cfg.get('model')
    if not isinstance(config, dict):
        return None

    def build() -> nn.Module:
        with DefaultScope.overwrite_default_scope(runner.default_scope.scope_name):
            # Some constructors change their config.
            model: nn.Module = MMENGINE_MODELS.build(copy.deepcopy(config))
        return model

    return build
