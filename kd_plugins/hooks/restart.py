"""Restart parts of a trained model with new weights and freeze the rest, as in DWPose's second stage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import set_random_seed
from torch import nn

from ..errors import ConfigError
from ..taps import module_at
from ..teachers.base import BaseTeacher
from ..teachers.finished import FinishedTeacher
from ..utils.build import check_settings
from ..utils.checks import check_integer, check_module_paths
from ..utils.rng import forked_rng
from .averages import restart_averages
from .building import model_builder
from .run_state import RunState

KEY = 'default_hooks.distill.restart'
OTHER_STREAM = 7919
"""Added to the seed of the run, so that the new weights differ from the first ones of a finished run of that seed."""


def frozen_modules(model: nn.Module, parts: Sequence[str]) -> dict[str, nn.Module]:
    """Return the largest modules that contain none of ``parts``, by name.

    >>> model = nn.ModuleDict({'backbone': nn.ReLU(), 'roi_head': nn.ModuleDict({'pool': nn.ReLU(), 'box': nn.ReLU()})})
    >>> list(frozen_modules(model, ['roi_head.box']))
    ['backbone', 'roi_head.pool']
    """
    frozen: dict[str, nn.Module] = {}

    def collect(prefix: str, module: nn.Module) -> None:
        for name, child in module.named_children():
            path = f'{prefix}{name}'
            if any(part.startswith(f'{path}.') for part in parts):
                collect(f'{path}.', child)
            elif path not in parts:
                frozen[path] = child

    collect('', model)
    return frozen


class Restart:
    """New weights for some parts of a model, with everything else frozen and in eval mode.

    Source: DWPose (arXiv 2307.15880), section 3.3, restarts the head of a finished pose estimator.

    Args:
        parts: Dotted paths of the modules that restart, for example ``['head']``.
        seed: Seed of the new weights; ``None`` derives it from the seed of the run.

    Raises:
        ConfigError: If ``parts`` is not a list of module paths.
    """

    def __init__(self, parts: Sequence[str], seed: int | None = None) -> None:
        self.parts = check_module_paths(f'{KEY}.parts', parts, ['head'])
        if seed is not None:
            check_integer(f'{KEY}.seed', seed, 0, 'valid: None, 0', 2**32 - 1)
        self.seed = seed
        self._frozen: list[nn.Module] = []
        self._frozen_params: list[nn.Parameter] = []

    @classmethod
    def of(cls, settings: Any) -> Restart | None:
        """Return the restart that ``restart`` in the config describes, None where it is None.

        Raises:
            ConfigError: If it is no dict of arguments of this class.
        """
        if settings is None:
            return None
        check_settings(cls, settings, KEY, "dict(parts=['head'])")
        return cls(**{'parts': (), **settings})

    def frozen(self, student: nn.Module) -> dict[str, nn.Module]:
        """Return the modules that do not change, by name.

        Raises:
            ConfigError: If a part names no module of the student.
        """
        for part in self.parts:
            module_at(student, part, f'{KEY}.parts')
        return frozen_modules(student, self.parts)

    def renew(self, runner: Any, student: nn.Module) -> None:
        """Load new initial weights into the parts, from a newly built model of the run's config.

        The builder and ``init_weights`` of the library draw them, so that this package copies no initialisation.

        Raises:
            ConfigError: If the run has no ``model`` config to build from.
        """
        build_model = model_builder(runner)
        if build_model is None:
            raise ConfigError(f'{KEY}: the run got a model object, which cannot be built again; give model as a config')
        with forked_rng():
            set_random_seed(runner.seed + OTHER_STREAM if self.seed is None else self.seed)
            new_model = build_model()
            for part in self.parts:
                module = new_model.get_submodule(part)
                initialise = getattr(module, 'init_weights', None)
                if callable(initialise):
                    initialise()
                student.get_submodule(part).load_state_dict(module.state_dict())

    def begin(
        self, runner: Any, student: nn.Module, state: RunState, teachers: Iterable[BaseTeacher], inspected: bool
    ) -> None:
        """Draw new weights for the parts of a loaded model, or keep those of a resumed run.

        Args:
            runner: The runner.
            student: Its model, without wrapper.
            state: What the run has loaded or resumed.
            teachers: The teachers of the run.
            inspected: Whether a command looks at the config, so that the model may be untrained.

        Raises:
            ConfigError: If no trained model was loaded, or a resumed run has lost the finished model that teaches.
        """
        if not state.loaded and not inspected:
            raise ConfigError(
                f'{KEY} restarts {self.parts} of a trained model, but load_from is None; '
                "set load_from to the checkpoint of the finished run, for example 'work_dirs/NAME/epoch_12.pth'"
            )
        if state.begins:
            self.renew(runner, student)
            restart_averages(runner, student)
            for teacher in teachers:
                teacher.after_restart(student)
        elif state.resumed is None:
            finished = next((one for one in teachers if isinstance(one, FinishedTeacher)), None)
            if finished is not None:
                raise ConfigError(
                    f'{finished.key}: the resumed checkpoint holds weights only, and not the finished model that '
                    'teaches; resume from a checkpoint with its optimizer, or start a new run with load_from'
                )
        self.wrap(runner, student)

    def freeze(self, student: nn.Module) -> dict[str, nn.Module]:
        """Switch the gradient off for everything but the parts; return the result of :meth:`frozen`."""
        frozen = self.frozen(student)
        self._frozen = list(frozen.values())
        restarted = {id(param) for part in self.parts for param in student.get_submodule(part).parameters()}
        self._frozen_params = [
            param for param in student.parameters() if param.requires_grad and id(param) not in restarted
        ]
        for param in self._frozen_params:
            param.requires_grad_(False)
        return frozen

    @staticmethod
    def wrap(runner: Any, student: nn.Module) -> None:
        """Wrap a distributed model again, after :meth:`freeze` and :meth:`renew`.

        DistributedDataParallel lists the parameters that need a gradient when it is created. Its creation also copies
        the weights of rank 0 to every rank.

        Raises:
            ConfigError: If the runner has a strategy that wraps the model, and cannot wrap it again.
        """
        if is_model_wrapper(runner.model):
            if not hasattr(runner, 'wrap_model'):
                raise ConfigError(
                    f"{KEY}: runner_type is '{type(runner).__name__}', whose strategy cannot wrap the model again when "
                    "its parts are frozen; nearest: 'Runner'"
                )
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), student)

    def hold(self) -> None:
        """Put the frozen modules back into eval mode; the training loop puts them into train mode every epoch."""
        for module in self._frozen:
            if module.training:
                module.eval()

    def release(self) -> None:
        """Switch the gradient of the frozen parameters on again."""
        for param in self._frozen_params:
            param.requires_grad_(True)
        self._frozen, self._frozen_params = [], []
