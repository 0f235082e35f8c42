"""Short runs of a narrow UNet of MMSegmentation on generated images."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from kd_plugins.config.loading import load_config
from kd_plugins.testing import use_generated_data
from tests.integration.runs import Recorder

ROOT = Path(__file__).resolve().parents[2]
SMALL = {'model.backbone.base_channels': 4, 'model.decode_head.in_channels': 4, 'model.decode_head.channels': 4}


def run(name: str, work_dir: Path, options: dict[str, Any] | None = None, **settings: Any) -> tuple[Runner, Recorder]:
    """Train a narrow version of ``configs/dual_self/NAME.py`` for two epochs of two batches of generated images."""
    config = load_config(str(ROOT / 'configs' / 'dual_self' / f'{name}.py'), {**SMALL, **(options or {})})
    use_generated_data(config)
    config.train_dataloader.dataset.update(size=(64, 64), length=4)
    config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
    for part in ('val', 'test'):
        config[f'{part}_cfg'] = config[f'{part}_dataloader'] = config[f'{part}_evaluator'] = None
    config.default_hooks.checkpoint.update(save_best=None)
    config.default_hooks.pop('visualization')
    config.work_dir, config.log_level, config.experiment_name = str(work_dir), 'ERROR', work_dir.name
    config.visualizer = dict(type='Visualizer', name=f'{work_dir.parent.name}_{work_dir.name}')
    config.update(settings)
    recorder = Recorder(config.pop('kill_at', None))
    runner = Runner.from_cfg(config)
    runner.register_hook(recorder)
    with suppress(KeyboardInterrupt):
        runner.train()
    return runner, recorder
