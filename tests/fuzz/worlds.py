"""Small students, one for each kind of network in the shipped configs, that replay one recorded forward pass.

A case of the fuzz tests takes a first training step. The network of the config is built once, with few channels, and
runs once on generated data. Afterwards its ``forward`` calls the forward hooks of its modules with the recorded
outputs, so that taps, teachers, distillers and the checks of the hook see what they see in a training, in milliseconds.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, HOOKS, MODELS, DefaultScope
from torch import Tensor, nn

from kd_plugins.config.loading import load_config, register_scope
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.entries import check_entry
from kd_plugins.ops.fisher import fisher_record
from kd_plugins.teachers.collection import teacher_configs
from kd_plugins.testing import strip_pretrained, use_generated_data

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
ITERATIONS = 160
EPOCH = 10

PYRAMID = {'model.neck.in_channels': [8, 16, 32, 64], 'model.neck.out_channels': 16}
DILATED = {
    'model.backbone.base_channels': 8,
    'model.decode_head.in_channels': 64,
    'model.decode_head.channels': 16,
    'model.auxiliary_head.in_channels': 32,
    'model.auxiliary_head.channels': 8,
}
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    'gfl': (
        'gfl/gfl_r18_bccd.py',
        {
            **PYRAMID,
            'model.backbone.base_channels': 8,
            'model.bbox_head.in_channels': 16,
            'model.bbox_head.feat_channels': 16,
        },
    ),
    'gfl_deep': (
        'gfl/gfl_r18_bccd.py',
        {
            **PYRAMID,
            'model.backbone.base_channels': 8,
            'model.bbox_head.in_channels': 16,
            'model.bbox_head.feat_channels': 16,
            'model.bbox_head.stacked_convs': 4,
        },
    ),
    'mask_rcnn': (
        'roi/roi_mask-rcnn-r101_mask-rcnn-r50_fpn_1x_coco.py',
        {
            **PYRAMID,
            'model.backbone.depth': 18,
            'model.backbone.base_channels': 8,
            'model.rpn_head.in_channels': 16,
            'model.rpn_head.feat_channels': 16,
            'model.roi_head.bbox_roi_extractor.out_channels': 16,
            'model.roi_head.bbox_head.in_channels': 16,
            'model.roi_head.bbox_head.fc_out_channels': 32,
            'model.roi_head.mask_roi_extractor.out_channels': 16,
            'model.roi_head.mask_head.in_channels': 16,
            'model.roi_head.mask_head.conv_out_channels': 16,
            'model.train_cfg.rcnn.sampler.num': 16,
            'model.train_cfg.rpn_proposal.max_per_img': 32,
        },
    ),
    'rtmdet': (
        'feature/rtmdet_s_8xb32-300e_coco_ema-logit-feat.py',
        {
            'model.backbone.deepen_factor': 0.167,
            'model.backbone.widen_factor': 0.125,
            'model.neck.in_channels': [32, 64, 128],
            'model.neck.out_channels': 32,
            'model.neck.num_csp_blocks': 1,
            'model.bbox_head.in_channels': 32,
            'model.bbox_head.feat_channels': 32,
        },
    ),
    'dino': (
        'dfine/dino_r18_bccd_fdr_stages.py',
        {'model.num_queries': 20, 'model.encoder.num_layers': 1},
    ),
    'dab': (
        'queries/dab-detr_r18_bccd_ema-queries.py',
        {'model.num_queries': 20, 'model.decoder.num_layers': 2},
    ),
    'dfine': ('dfine/dfine_s_bccd.py', {'model.num_queries': 20}),
    'unet': ('dual_self/unet_isbi_dsd.py', {'model.backbone.base_channels': 4, 'model.decode_head.in_channels': 4}),
    'fpn': (
        'dual_self/fpn_r50_4xb2-80k_cityscapes-512x1024_dsd.py',
        {'model.backbone.depth': 18, 'model.neck.in_channels': [64, 128, 256, 512], 'model.neck.out_channels': 256},
    ),
    'pspnet': ('logit/uskd_pspnet-r18_4xb2-80k_cityscapes-512x1024.py', DILATED),
    'deeplabv3': ('logit/nkd_deeplabv3-r101_deeplabv3-r18_4xb2-80k_cityscapes-512x1024.py', DILATED),
    'swin': (
        'relation/minilm_upernet-swin-b_upernet-swin-t_8xb2-160k_ade20k-512x512.py',
        {
            'model.backbone.embed_dims': 24,
            'model.backbone.depths': [1, 1, 1, 2],
            'model.decode_head.in_channels': [24, 48, 96, 192],
            'model.decode_head.channels': 16,
            'model.auxiliary_head.in_channels': 96,
            'model.auxiliary_head.channels': 8,
        },
    ),
    'panoptic': (
        'dual_self/panoptic-fpn_r50_fpn_1x_coco_dsd.py',
        {'model.backbone.depth': 18, 'model.neck.in_channels': [64, 128, 256, 512]},
    ),
    'segformer': ('dual_self/segformer_mit-b0_8xb2-160k_ade20k-512x512_dsd.py', {}),
    'dynunet': ('dual_self/dynunet_hippocampus_dsd.py', {'model.network.filters': [2, 4, 4, 4, 4]}),
    'unetr': ('dual_self/unetr_hippocampus_dsd.py', {'model.network.feature_size': 4}),
    'simcc': ('dwpose/rtmpose-t_lspet.py', {'model.backbone.widen_factor': 0.125, 'model.head.in_channels': 128}),
    'heatmap': (
        'dwpose/simplebaseline-r18w32_lspet.py',
        {'model.backbone.base_channels': 8, 'model.head.in_channels': 64, 'model.head.deconv_out_channels': [8, 8, 8]},
    ),
    'pillars': ('local_graph/pointpillars_x4_scenes.py', {}),
}
"""Name of a world to the config of its network and the changes that make it small."""
WORLDS = {
    'backbone_teacher/*rtmdet*': 'rtmdet',
    'backbone_teacher/*': 'gfl',
    'cross_head/*': 'gfl_deep',
    'dfine/*': 'dino',
    'dfine_native/*': 'dfine',
    'dual_self/dynunet*': 'dynunet',
    'dual_self/unetr*': 'unetr',
    'dual_self/unet*': 'unet',
    'dual_self/fpn*': 'fpn',
    'dual_self/panoptic*': 'panoptic',
    'dual_self/segformer*': 'segformer',
    'dwpose/*r18*': 'heatmap',
    'dwpose/*': 'simcc',
    'feature/*rtmdet*': 'rtmdet',
    'feature/*': 'gfl',
    'focal_global/*': 'gfl',
    'gfl/*': 'gfl',
    'incremental/*': 'gfl',
    'label_guided/*mask-rcnn*': 'mask_rcnn',
    'label_guided/*rtmpose*': 'simcc',
    'label_guided/*segformer*': 'segformer',
    'label_guided/simplebaseline*': 'heatmap',
    'label_guided/unet*': 'unet',
    'label_guided/*': 'gfl',
    'local_graph/gfl*': 'gfl',
    'local_graph/*': 'pillars',
    'logit/*unet*': 'unet',
    'logit/*pspnet*': 'pspnet',
    'logit/*': 'deeplabv3',
    'queries/*': 'dab',
    'relation/*swin*': 'swin',
    'relation/*unet*': 'unet',
    'relation/*': 'deeplabv3',
    'roi/*': 'mask_rcnn',
    'stage_class/*': 'gfl',
    'unlabelled/rtmcc*': 'simcc',
    'unlabelled/rtmdet*': 'rtmdet',
    'unlabelled/rtmpose*': 'simcc',
    'unlabelled/segformer*': 'segformer',
    'unlabelled/unet*': 'unet',
    'unlabelled/*': 'gfl',
}
"""Pattern of shipped configs to their world; the first match counts."""
NOT_STEPPED = ('local_graph/point-rcnn*', 'unlabelled/*')
"""Configs whose network runs on a GPU only, or whose run needs images and an EMAHook; their entries are built and
checked without a step."""


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


@cache
def shipped() -> tuple[str, ...]:
    """Return the paths below ``configs`` of all shipped configs."""
    paths = (path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
    return tuple(sorted(path.relative_to(CONFIGS).as_posix() for path in paths))


@cache
def shipped_config(name: str) -> Config:
    """Return a shipped config; do not change it."""
    return Config.fromfile(CONFIGS / name)


@cache
def distilling() -> tuple[str, ...]:
    """Return the shipped configs that have a distill entry."""
    return tuple(name for name in shipped() if _entry(shipped_config(name)))


def _entry(config: Config) -> Any:
    return (config.get('default_hooks') or {}).get('distill')


@MODELS.register_module(force=True)
class ConvMaps(nn.Module):
    """A backbone that gives a map of stride 16, in place of the networks of teachers without a config."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 16, 16)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


@cache
def conv_maps_checkpoint() -> str:
    """Return the path of the weights of :class:`ConvMaps`."""
    path = Path(mkdtemp(prefix='kd_plugins_fuzz_')) / 'backbone.pth'
    torch.save({'state_dict': ConvMaps().state_dict()}, path)
    return str(path)


def entry_of(name: str) -> dict[str, Any]:
    """Return the distill entry of a shipped config, with a teacher whose files exist."""
    entry = _entry(shipped_config(name)).to_dict()
    for teacher in teacher_configs(entry).values():
        if teacher['type'] == 'kd_plugins.FrozenTeacher':
            teacher['config'] = world_of(name).teacher_config
            teacher['checkpoint'] = world_of(name).teacher_checkpoint
        if teacher['type'] == 'kd_plugins.BackboneTeacher':
            teacher['model'] = {'type': 'ConvMaps'}
            teacher['checkpoint'] = conv_maps_checkpoint()
    for distiller in entry['distillers'].values():
        if distiller and distiller['type'] == 'kd_plugins.ParameterAnchor' and distiller.get('checkpoint'):
            distiller['checkpoint'] = world_of(name).teacher_checkpoint
        if distiller and name.startswith('dfine_native/dfine-s'):
            distiller.pop('teacher_tap', None)  # the teacher of a world has the levels of its student
        if distiller and distiller.get('teacher_classes'):
            # The teacher of a world has as many classes as the student, so it has them in another order.
            distiller['teacher_classes'] = ['WBC', 'RBC', 'Platelets']
    if entry.get('init_from_teacher'):
        # The world of a two-stage detector is a network with one head.
        entry['init_from_teacher'] = ['neck', 'bbox_head']
    return entry


def add_parts(entry: dict[str, Any]) -> None:
    """Add parts that no shipped entry has: adapters with an optimizer, a restart's seed, several teachers.

    Args:
        entry: Result of :func:`entry_of`; changed in place.
    """
    for distiller in entry['distillers'].values():
        if (distiller or {}).get('type') == 'kd_plugins.FeatureDistiller':
            distiller['adapter'] = {'type': 'kd_plugins.PointwiseAdapter', 'channel_dim': 1}
    entry['optimizer'] = {'optimizer': {'type': 'AdamW', 'lr': 1e-3}, 'clip_grad': {'type': 'norm', 'max_norm': 1.0}}
    entry['checks'] = {'classes': True}
    if entry.get('restart'):
        entry['restart']['seed'] = 3
    elif entry.get('teacher'):
        entry['teachers'] = {'big': entry.pop('teacher'), 'late': {'type': 'kd_plugins.SnapshotTeacher', 'epochs': 2}}
        for distiller in entry['distillers'].values():
            if distiller is not None:
                distiller['source'] = 'big'
        if pseudo := (entry.get('unlabelled') or {}).get('pseudo'):
            pseudo['source'] = 'big'


class Loader:
    """The loader of a stub runner: a data set and a length."""

    batch_size = 2

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return EPOCH


def stub_runner(place: World, hook: DistillHook) -> Any:
    """Return an object with the attributes of MMEngine's runner that the hook reads."""
    optimizer = torch.optim.SGD([next(iter(place.student.parameters()))], lr=0.01, momentum=0.9)
    visualizer = SimpleNamespace(add_scalars=lambda *args, **kwargs: None)
    logger = logging.getLogger('kd_plugins_fuzz')
    logger.setLevel(logging.CRITICAL)
    return SimpleNamespace(
        cfg=place.config,
        model=place.student,
        iter=0,
        epoch=0,
        max_iters=ITERATIONS,
        max_epochs=ITERATIONS // EPOCH,
        train_dataloader=Loader(place.dataset),
        train_loop=SimpleNamespace(dataloader=Loader(place.dataset)),
        hooks=[hook],
        logger=logger,
        optim_wrapper=OptimWrapper(optimizer),
        seed=0,
        default_scope=DefaultScope.get_current_instance() or SimpleNamespace(scope_name=place.scope),
        visualizer=visualizer,
        work_dir=str(place.folder),
        auto_scale_lr=None,
    )


@contextmanager
def _scope(name: str) -> Iterator[None]:
    with DefaultScope.overwrite_default_scope(name):
        yield


def take_first_step(entry: Any, place: World, loads: bool = False, steps: bool = True) -> None:
    """Do with a distill entry what a training does up to its first step, and then the second.

    Args:
        entry: ``default_hooks.distill``; changed in place.
        place: The world of its config.
        loads: Whether the config has a ``load_from``.
        steps: Whether the network can run.
    """
    place.clean()
    hook = None
    with _scope(place.scope):
        try:
            check_entry(entry, 'default_hooks.distill')
            hook = HOOKS.build(entry)
            runner = stub_runner(place, hook)
            hook.before_run(runner)
            if loads:
                hook.after_load_checkpoint(runner, {'state_dict': {}, 'optimizer': {}})
            if not steps:
                return
            hook.before_train(runner)
            for iteration in itertools.count():
                runner.iter = iteration
                hook.before_train_iter(runner, iteration)
                losses = place.student(**copy.copy(place.data), mode='loss')
                assert all(isinstance(value, (Tensor, list)) for value in losses.values())
                if iteration == 1:
                    break
                hook.after_train_iter(runner, iteration)
        finally:
            if isinstance(hook, DistillHook) and hook.session is not None:
                hook.after_train(runner)


__all__ = ['World', 'distilling', 'entry_of', 'shipped', 'shipped_config', 'take_first_step', 'world', 'world_of']
