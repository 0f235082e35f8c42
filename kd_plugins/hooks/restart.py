"""Fresh weights for named parts of a trained model, while the rest stays as it is (DWPose's second stage)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from torch import nn

from ..errors import ConfigError, nearest
from ..utils.rng import forked_rng

KEY = 'default_hooks.distill.restart'
OTHER_STREAM = 7919
"""Added to the run's seed: the new weights must not be those that the finished run of the same seed began with."""


def frozen_modules(model: nn.Module, parts: Sequence[str]) -> dict[str, nn.Module]:
    """Return the largest modules that hold nothing of ``parts``, by name.

    >>> model = nn.ModuleDict({'backbone': nn.ReLU(), 'roi_head': nn.ModuleDict({'pool': nn.ReLU(), 'box': nn.ReLU()})})
    >>> list(frozen_modules(model, ['roi_head.box']))
    ['backbone', 'roi_head.pool']
    """
    found: dict[str, nn.Module] = {}

    def collect(prefix: str, module: nn.Module) -> None:
        for name, child in module.named_children():
            path = f'{prefix}{name}'
            if any(part.startswith(f'{path}.') for part in parts):
                collect(f'{path}.', child)
            elif path not in parts:
                found[path] = child

    collect('', model)
    return found


class Restart:
    """Draw the weights of some parts anew and keep everything else frozen and in eval mode.

    Source: DWPose (arXiv 2307.15880), section 3.3, restarts the head of a finished pose estimator.

    Args:
        parts: Dotted paths of the modules that restart, for example ``['head']``.
        seed: Seed of the new weights; ``None`` takes one that follows from the run's.

    Raises:
        ConfigError: If ``parts`` is no list of paths.
    """

    def __init__(self, parts: Sequence[str], seed: int | None = None) -> None:
        if isinstance(parts, str) or not parts or not all(isinstance(part, str) for part in parts):
            raise ConfigError(f"{KEY}.parts is {parts!r}; give a list of module paths, for example ['head']")
        self.parts = list(parts)
        self.seed = seed
        self.needs_trained_model = True
        """Whether ``load_from`` is required. A dry run of one batch sets it to False."""
        self._frozen: list[nn.Module] = []
        self._thawed: list[nn.Parameter] = []

    def frozen(self, student: nn.Module) -> dict[str, nn.Module]:
        """Return the modules that stay as they are, by name.

        Raises:
            ConfigError: If a part is no module of the student.
        """
        names = [name for name, _ in student.named_modules() if name]
        for part in self.parts:
            if part not in names:
                raise ConfigError(f"{KEY}.parts: '{part}' names no module of the student; {nearest(part, names)}")
        return frozen_modules(student, self.parts)

    def renew(self, runner: Any, student: nn.Module) -> None:
        """Give the parts the weights that a newly built model of the run's config has.

        The library's own builder and ``init_weights`` draw them, so that no initialisation is repeated here.

        Raises:
            ConfigError: If the run has no ``model`` config to build from.
        """
        config = runner.cfg.get('model')
        if not isinstance(config, dict):
            raise ConfigError(f'{KEY}: the run got a model object, which cannot be built anew; give model as a config')
        with forked_rng():
            set_random_seed(runner.seed + OTHER_STREAM if self.seed is None else self.seed)
            with DefaultScope.overwrite_default_scope(runner.default_scope.scope_name):
                fresh = MMENGINE_MODELS.build(config)
            for part in self.parts:
                module = fresh.get_submodule(part)
                initialise = getattr(module, 'init_weights', None)
                if callable(initialise):
                    initialise()
                student.get_submodule(part).load_state_dict(module.state_dict())

    def freeze(self, student: nn.Module) -> dict[str, nn.Module]:
        """Take the gradient from everything but the parts; return :meth:`frozen`."""
        frozen = self.frozen(student)
        self._frozen = list(frozen.values())
        kept = {id(param) for part in self.parts for param in student.get_submodule(part).parameters()}
        self._thawed = [param for param in student.parameters() if param.requires_grad and id(param) not in kept]
        for param in self._thawed:
            param.requires_grad_(False)
        return frozen

    @staticmethod
    def wrap(runner: Any, student: nn.Module) -> None:
        """Wrap the model again where it is wrapped, after :meth:`freeze` and :meth:`renew`.

        DistributedDataParallel lists the parameters that need a gradient when it is made. Making it also gives every
        rank the weights of rank 0.
        """
        if is_model_wrapper(runner.model):
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), student)

    def hold(self) -> None:
        """Put the frozen modules back into eval mode, which the training loop takes from them every epoch."""
        for module in self._frozen:
            if module.training:
                module.eval()

    def release(self) -> None:
        """Give the frozen parameters their gradient back."""
        for param in self._thawed:
            param.requires_grad_(True)
        self._frozen, self._thawed = [], []
