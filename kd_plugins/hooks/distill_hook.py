"""Hook that adds distillation losses to the training of any OpenMMLab model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.model import is_model_wrapper
from torch import nn

from ..checkpoints import ATOMIC_BACKEND
from ..distillers.base import BaseDistiller
from ..errors import ConfigError, NonFiniteLossError
from ..registry import HOOKS, MODELS
from ..teachers.collection import build_teachers, resolve_source, teacher_states
from ..utils.build import build, check_arguments
from ..utils.checks import check_number
from ..utils.rng import forked_rng
from .loop_epochs import epoch_length, finished_epoch, is_iteration_loop, optimizer_stepped
from .observer import StepObserver, StepReport
from .optimizer import DistillOptimizer, check_settings
from .restart import KEY as RESTART_KEY
from .restart import Restart
from .session import DistillSession
from .teaching import check_teacher_classes, prepare_teachers
from .term_log import Monitors, TermLog, TermMeans, image_names, non_finite, read_monitors

CHECKPOINT_KEY = 'distill'


@HOOKS.register_module()
class DistillHook(Hook):
    """Distillation losses for any OpenMMLab model, as one entry in its config.

    The hook attaches before training and detaches after it. The model keeps its architecture, and its checkpoint holds
    exactly its own keys. The state of the teacher and the distillers is stored under ``checkpoint['distill']``.

    Args:
        distillers: Name to config of each distiller; ``None`` switches one off in an inheriting config.
        teacher: Config of the only teacher; ``None`` where deeper layers of the student teach.
        teachers: Name to config of several teachers, which the distillers name as ``source='big'``. ``teacher`` is the
            short form of ``teachers=dict(teacher=...)``. A teacher that no distiller names is not built.
        restart: ``dict(parts=['head'])`` draws new weights for these parts after ``load_from`` and freezes the
            rest, see :class:`~kd_plugins.hooks.restart.Restart`; ``None`` trains the whole model.
        optimizer: Optimizer of the distillers' own parameters: ``dict(optimizer=dict(...), clip_grad=dict(...))``, see
            :class:`~kd_plugins.hooks.optimizer.DistillOptimizer`; ``None`` takes type and settings of the student's.
        task_weight: Factor on the task losses. With 0 they are logged as ``task.*`` and train nothing.
        log_interval: Iterations between reports of the terms; ``None`` uses the interval of the LoggerHook.
        atomic_checkpoints: Whether the CheckpointHook writes its local files atomically.

    Raises:
        ConfigError: If a part is unknown or misconfigured.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        distillers: dict[str, dict[str, Any] | None],
        teacher: dict[str, Any] | None = None,
        teachers: dict[str, dict[str, Any] | None] | None = None,
        restart: dict[str, Any] | None = None,
        optimizer: dict[str, Any] | None = None,
        task_weight: float = 1.0,
        log_interval: int | None = None,
        atomic_checkpoints: bool = True,
    ) -> None:
        if not isinstance(distillers, dict):
            raise ConfigError(
                f'default_hooks.distill.distillers is {type(distillers).__name__}; give a dict of name to config'
            )
        configs = {name: config for name, config in distillers.items() if config is not None}
        dotted = next((name for name in configs if '.' in name), None)
        if dotted is not None:
            raise ConfigError(f"distillers: the name '{dotted}' contains a dot; use '{dotted.replace('.', '_')}'")
        self.distillers: dict[str, BaseDistiller] = {
            name: build(MODELS, config, BaseDistiller, f'distillers.{name}') for name, config in configs.items()
        }
        every = build_teachers(teacher, teachers)
        used = {resolve_source(one.source, one.key, every) for one in self.distillers.values()}
        self.teachers = {name: one for name, one in every.items() if name in used}
        self._unused = [one.key for name, one in every.items() if name not in used]
        self.restart: Restart | None = None
        if restart is not None:
            if not isinstance(restart, dict):
                raise ConfigError(f"{RESTART_KEY} is {restart!r}; give a dict, for example dict(parts=['head'])")
            check_arguments(Restart, restart, RESTART_KEY)
            self.restart = Restart(**{'parts': (), **restart})
        self.optimizer_settings = check_settings(optimizer)
        self.task_weight = check_number('default_hooks.distill.task_weight', task_weight, positive=False)
        self.log_interval = log_interval
        self.atomic_checkpoints = atomic_checkpoints
        self.session: DistillSession | None = None
        self.optimizer: DistillOptimizer | None = None
        self._observers: list[StepObserver | Callable[[StepReport], None]] = [self._on_step]
        self._log = TermLog()
        self._last: StepReport | None = None
        self._resumed: dict[str, Any] | None = None
        self._loaded = False

    def subscribe(self, observer: StepObserver | Callable[[StepReport], None]) -> None:
        """Send the report of every training step to an observer; call this before training.

        Args:
            observer: A function of a report, or a :class:`~kd_plugins.hooks.observer.StepObserver`.
        """
        self._observers.append(observer)

    # Attach and detach.

    def before_train(self, runner: Any) -> None:
        """Attach to the student, after it has loaded or resumed its weights."""
        student = self._student(runner)
        with forked_rng():
            frozen = self.restart.freeze(student) if self.restart is not None else {}
            prepare_teachers(runner, student, self.teachers, frozen, self._resumed)
            check_teacher_classes(runner, self.distillers.values(), self.teachers)
            for key in self._unused:
                runner.logger.info(f'{key} is not built: no distiller has it as its source.')
            if self.restart is not None:
                self._restart(runner, student)
            self.session = DistillSession(
                student, self.distillers, self.teachers, lambda: self._on_initialized(runner), self._observers
            )
        self.session.task_weight = self.task_weight
        if is_model_wrapper(runner.model):
            self.session.sync_gradients = lambda: getattr(runner.model, 'require_backward_grad_sync', True)

    def after_train(self, runner: Any) -> None:
        """Detach; no hook and no attribute of this package stays on the model."""
        if self.session is not None:
            self.session.detach()
            self.session = None
        if self.optimizer is not None:
            self.optimizer.remove()
            self.optimizer = None
        if self.restart is not None:
            self.restart.release()
        self._last = None

    def _restart(self, runner: Any, student: nn.Module) -> None:
        """Draw new weights for parts of a loaded model, or keep those of a resumed run."""
        assert self.restart is not None
        if not self._loaded and self.restart.needs_trained_model:
            raise ConfigError(
                f'{RESTART_KEY} restarts {self.restart.parts} of a trained model, but load_from is None; '
                "set load_from to the checkpoint of the finished run, for example 'work_dirs/NAME/epoch_12.pth'"
            )
        if self._resumed is None:
            self.restart.renew(runner, student)
        self.restart.wrap(runner, student)

    @staticmethod
    def _student(runner: Any) -> nn.Module:
        model = runner.model
        if not is_model_wrapper(model):
            return model
        if not hasattr(model, 'module') or 'FullyShard' in type(model).__name__:
            raise ConfigError(
                f"model_wrapper_cfg.type is '{type(model).__name__}', which has no single inner module to tap; "
                "nearest: 'MMDistributedDataParallel'"
            )
        return model.module

    def _on_initialized(self, runner: Any) -> None:
        """Make the optimizer of the new adapters, and restore their state in a resumed run."""
        assert self.session is not None
        params = [param for param in self.session.distillers.parameters() if param.requires_grad]
        if params:
            self.optimizer = DistillOptimizer(runner, params, self.optimizer_settings)
        if self._resumed:
            try:
                self.session.distillers.load_state_dict(self._resumed['distillers'])
            except RuntimeError as error:
                raise ConfigError(
                    f'distillers: the resumed checkpoint holds other adapters than this config makes ({error}); '
                    'resume with the config of that run, or start a new run with load_from'
                ) from error
            if self.optimizer is not None and self._resumed.get('optimizer'):
                self.optimizer.load_state_dict(self._resumed['optimizer'])
            self._resumed = None

    # Every iteration.

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Look up the weights of this iteration."""
        assert self.session is not None
        self.session.iteration, self.session.epoch = runner.iter, runner.epoch
        length = epoch_length(runner) or 1
        if self.restart is not None:
            self.restart.hold()
        for name, distiller in self.distillers.items():
            self.session.weights[name] = distiller.schedule(runner.iter, runner.max_iters, length)

    def _on_step(self, report: StepReport) -> None:
        self._log.add(report.terms, report.task_loss)
        # The copy is detached, because the graph must not outlive the step.
        terms = [replace(term, raw=term.raw.detach()) for term in report.terms]
        self._last = replace(report, terms=terms)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop at a non-finite term before a checkpoint is saved, update the teacher, report the terms."""
        assert self.session is not None
        if self.optimizer is not None:
            self.optimizer.after_iteration()
        if self._last is not None:
            broken = non_finite(self._last.terms)
            if broken:
                raise NonFiniteLossError(
                    f"'{broken[0].key}' became {float(broken[0].raw)} at iteration {runner.iter + 1} on the images "
                    f'{image_names(self._last.batch)}; the newest checkpoint is untouched: lower its weight or the '
                    'learning rate and resume'
                )
            self._last = None
        self._update_teachers(runner, self.session.student)
        if self.every_n_inner_iters(batch_idx, self._interval(runner)):
            means = self._log.take()
            if means:
                reports: list[TermMeans | Monitors] = [*means, *read_monitors(self.distillers)]
                scalars = {name: value for report in reports for name, value in report.scalars().items()}
                runner.visualizer.add_scalars(scalars, step=runner.iter + 1)
                for report in reports:
                    runner.logger.info(report.sentence())

    def after_train_epoch(self, runner: Any) -> None:
        """Update the teacher at the end of an epoch."""
        if self.session is not None and not is_iteration_loop(runner):
            for teacher in self.teachers.values():
                teacher.after_epoch(self.session.student, runner.epoch)

    def _update_teachers(self, runner: Any, student: nn.Module) -> None:
        epoch = finished_epoch(runner)
        for teacher in self.teachers.values():
            if optimizer_stepped(runner):
                teacher.after_step(student, runner.iter)
            if epoch is not None:
                teacher.after_epoch(student, epoch)

    def _interval(self, runner: Any) -> int:
        if self.log_interval is None:
            intervals = (hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook))
            self.log_interval = int(next(intervals, 10))
        return self.log_interval

    # Checkpoints.

    def before_run(self, runner: Any) -> None:
        """Make local checkpoint files atomic."""
        for hook in runner.hooks:
            if self.atomic_checkpoints and isinstance(hook, CheckpointHook):
                local = hook.backend_args is None and hook.file_client_args is None
                if local and '://' not in str(hook.out_dir or runner.work_dir):
                    hook.backend_args = {'backend': ATOMIC_BACKEND}

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add the state of teacher and distillers to a checkpoint that can be resumed.

        The rest of the checkpoint stays that of a plain run.
        """
        if self.session is None or 'optimizer' not in checkpoint:
            return
        checkpoint[CHECKPOINT_KEY] = {
            'teachers': teacher_states(self.teachers),
            'distillers': self.session.distillers.state_dict(),
            'optimizer': self.optimizer.state_dict() if self.optimizer is not None else {},
        }

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the state of teacher and distillers from a resumed checkpoint; ``load_from`` loads weights only."""
        self._loaded = True
        if getattr(runner, '_resume', False):
            self._resumed = checkpoint.get(CHECKPOINT_KEY)
            if self._resumed is None:
                runner.logger.info('The checkpoint is from a run without distillation, which begins here.')
