"""Small students, one for each kind of network in the shipped configs, that replay one recorded forward pass.

A case of the fuzz tests takes a first training step. The network of the config is built once, with few channels, and
runs once on generated data. Afterwards its ``forward`` calls the forward hooks of its modules with the recorded
outputs, so that taps, teachers, distillers and the checks of the hook see what they see in a training, in milliseconds.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, MODELS, DefaultScope
from torch import nn

from kd_plugins.config.loading import load_config, register_scope
from kd_plugins.ops.fisher import fisher_record
from kd_plugins.testing import strip_pretrained, use_generated_data

from .recipes import RECIPES, WORLDS
from .shipped import CONFIGS


@dataclass
class Tape:
    """Recorded calls of a network, in order, and the output of the network.

    A call is the name of a module, its positional and its keyword arguments, and its output.
    """

    calls: list[tuple[str, Any, Any, Any]] = field(default_factory=list)
    result: Any = None


def record(model: nn.Module, run: Callable[[], Any]) -> Tape:
    """Run a network and return what its modules gave."""
    tape = Tape()

    def recorder(name: str) -> Any:
        return lambda module, args, kwargs, output: tape.calls.append((name, args, kwargs, output))

    handles = [
        module.register_forward_hook(recorder(name), with_kwargs=True) for name, module in model.named_modules() if name
    ]
    tape.result = run()
    for handle in handles:
        handle.remove()
    return tape


class Replay:
    """A ``forward`` that calls hooks with recorded outputs."""

    def __init__(self, model: nn.Module, tapes: dict[str, Tape]) -> None:
        self.modules = dict(model.named_modules())
        self.tapes = tapes

    def __call__(self, inputs: Any = None, data_samples: Any = None, mode: str = 'tensor') -> Any:
        tape = self.tapes.get(mode, self.tapes['tensor'])
        for name, args, kwargs, output in tape.calls:
            module = self.modules[name]
            if module._forward_hooks or module._forward_pre_hooks:
                before = module.__dict__.get('forward')
                module.forward = lambda *_, output=output, **__: output
                try:
                    module(*args, **kwargs)
                finally:
                    if before is None:
                        del module.forward
                    else:
                        module.forward = before
        return dict(tape.result) if mode == 'loss' else tape.result


class World:
    """One kind of network with its recorded pass."""

    def __init__(self, name: str) -> None:
        self.name = name
        MMLogger.get_current_instance().setLevel(logging.CRITICAL)
        path, options = RECIPES[name]
        config = load_config(str(CONFIGS / path), options)
        self.scope, self.config = config.default_scope, config
        use_generated_data(config)
        config.val_cfg = None  # the files of the shipped config's validation are not here
        if 'size' in config.train_dataloader.dataset and self.scope in ('mmdet', 'mmseg'):
            config.train_dataloader.dataset.size = (64, 64)
        list(strip_pretrained(config.model))
        with DefaultScope.overwrite_default_scope(self.scope):
            torch.manual_seed(0)
            self.pristine: nn.Module = MODELS.build(copy.deepcopy(config.model))
            self.pristine.init_weights()  # some parameters are uninitialised memory before
            self.dataset = DATASETS.build(config.train_dataloader.dataset)
            batch = pseudo_collate([self.dataset[0], self.dataset[1]])
            self.data = self.pristine.data_preprocessor(batch, True)
            # The recorded graph leads to the parameters of the student.
            self.student = copy.deepcopy(self.pristine)
            self.tapes = self._record(self.student)
        self._replay(self.student)
        # The hook builds further networks from the config.
        self.config.model['type'] = 'FuzzNetwork'
        self.config.model['world'] = name
        self.folder = Path(mkdtemp(prefix='kd_plugins_fuzz_'))

    def _record(self, model: nn.Module) -> dict[str, Tape]:
        model.train()
        tapes = {'loss': record(model, lambda: model(**copy.deepcopy(self.data), mode='loss'))}
        model.eval()
        with torch.no_grad():
            tapes['tensor'] = record(model, lambda: model(**copy.deepcopy(self.data), mode='tensor'))
            inputs = copy.deepcopy(self.data)['inputs']
            if hasattr(model, 'extract_feat'):
                tapes['extract_feat'] = record(model, lambda: model.extract_feat(inputs))
        return tapes

    def second(self) -> nn.Module:
        """Return a further network of this kind, which replays the pass."""
        return self._replay(copy.deepcopy(self.pristine))

    def _replay(self, model: nn.Module) -> nn.Module:
        replay = Replay(model, self.tapes)
        model.forward = replay
        if 'extract_feat' in self.tapes:
            model.extract_feat = lambda inputs, *args, **kwargs: replay(inputs, mode='extract_feat')
        return model

    @cached_property
    def teacher_config(self) -> str:
        """Path of the config of a finished network of this kind."""
        path = self.folder / 'teacher_config.py'
        model = {'type': 'FuzzNetwork', 'world': self.name}
        path.write_text(f'model = {model!r}\ndefault_scope = {self.scope!r}\n')
        return str(path)

    @cached_property
    def teacher_checkpoint(self) -> str:
        """Path of the weights of a finished network of this kind."""
        path = self.folder / 'epoch_12.pth'
        fisher = fisher_record({name: torch.ones_like(one) for name, one in self.pristine.named_parameters()}, 1)
        meta = {'epoch': 12, 'iter': 120}
        torch.save({'state_dict': self.pristine.state_dict(), 'meta': meta, 'fisher': fisher}, path)
        return str(path)

    def clean(self) -> None:
        """Make the student fresh: no hooks, train mode, every parameter trained."""
        for module in self.student.modules():
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
        self.student.train().requires_grad_(True)
        self.student.zero_grad()


@cache
def world(name: str) -> World:
    """Return the world of a name."""
    return World(name)


def build_network(world: str, **_: Any) -> nn.Module:
    """Return a network of a world; the model type ``FuzzNetwork`` of the configs of these tests."""
    return globals()['world'](world).second()


MODELS.register_module(name='FuzzNetwork', module=build_network, force=True)


def world_of(config: str) -> World:
    """Return the world of a shipped config.

    Args:
        config: Path below ``configs``.
    """
    return world(next(name for pattern, name in WORLDS.items() if fnmatch(config, pattern)))


@cache
def load(scope: str) -> None:
    """Register the parts of an OpenMMLab package."""
    register_scope(scope)
