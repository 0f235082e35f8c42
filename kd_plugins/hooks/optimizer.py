"""Add the parameters of the distillers to an existing optimizer, as one more param group.

Parameters that are created after MMEngine has built its optimizer are in no optimizer and in no scheduler. The new
group is the last one. It follows the learning rate of the first group, because the lists of every scheduler get one
more entry. In checkpoints the group is stored separately, so that ``checkpoint['optimizer']`` and
``checkpoint['param_schedulers']`` fit the plain run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from torch import nn

from ..errors import ConfigError

PER_GROUP = ('base_values', '_last_value', 'min_value')
"""Attributes of MMEngine's schedulers that hold one entry per param group."""


def _schedulers(runner: Any) -> list[Any]:
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        return [scheduler for members in schedulers.values() for scheduler in members]
    return list(schedulers)


class OptimizerGroup:
    """Param group of the distillers in the optimizer of a runner.

    Args:
        runner: MMEngine's runner, after it has built its optimizer and schedulers.
        params: The parameters to optimize.

    Raises:
        ConfigError: If the runner has several optimizers.
    """

    def __init__(self, runner: Any, params: Iterable[nn.Parameter]) -> None:
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise ConfigError(
                'optim_wrapper: found several optimizers (OptimWrapperDict), and it is unclear which one should train '
                "the distillers' adapters; use one optimizer or distillers without adapters"
            )
        self._optimizer = runner.optim_wrapper.optimizer
        self._schedulers = _schedulers(runner)
        first = self._optimizer.param_groups[0]
        group = {name: value for name, value in first.items() if name != 'params'}
        self._optimizer.add_param_group({**group, 'params': list(params)})
        self._resize(lambda values: [*values, values[0]])

    @property
    def group(self) -> dict[str, Any]:
        """The param group of the optimizer."""
        group: dict[str, Any] = self._optimizer.param_groups[-1]
        return group

    def _resize(self, change: Any) -> None:
        for scheduler in self._schedulers:
            for name in PER_GROUP:
                values = getattr(scheduler, name, None)
                if isinstance(values, list) and values:
                    setattr(scheduler, name, change(values))

    def remove(self) -> None:
        """Remove the group from the optimizer and the schedulers."""
        for param in self.group['params']:
            self._optimizer.state.pop(param, None)
        self._optimizer.param_groups.pop()
        self._resize(lambda values: values[:-1])

    def split_from(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Move the group's state out of a checkpoint that MMEngine is about to write.

        Args:
            checkpoint: The checkpoint; its ``optimizer`` and ``param_schedulers`` are replaced by trimmed copies.

        Returns:
            Position of a parameter in the group to its state.
        """
        optimizer = dict(checkpoint['optimizer'])
        *others, group = optimizer['param_groups']
        group_state = {index: optimizer['state'][index] for index in group['params'] if index in optimizer['state']}
        optimizer['param_groups'] = others
        optimizer['state'] = {index: value for index, value in optimizer['state'].items() if index not in group_state}
        checkpoint['optimizer'] = optimizer

        def trimmed(state: dict[str, Any]) -> dict[str, Any]:
            lists = {name: state[name][:-1] for name in PER_GROUP if isinstance(state.get(name), list)}
            return {**state, **lists}

        schedulers = checkpoint.get('param_schedulers')
        if isinstance(schedulers, dict):
            checkpoint['param_schedulers'] = {
                name: [trimmed(state) for state in states] for name, states in schedulers.items()
            }
        elif schedulers:
            checkpoint['param_schedulers'] = [trimmed(state) for state in schedulers]
        first = group['params'][0] if group['params'] else 0
        return {str(index - first): state for index, state in group_state.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`split_from` returned.

        Args:
            state: Position of a parameter in the group to its state.
        """
        for position, values in state.items():
            param = self.group['params'][int(position)]
            self._optimizer.state[param] = {
                # As in torch.optim, counters keep their device and moments move to that of the parameter.
                name: value.to(param.device) if isinstance(value, torch.Tensor) and value.dim() else value
                for name, value in values.items()
            }
