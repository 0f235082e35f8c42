"""Hook that adds distillation losses to the training of any OpenMMLab model."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from ..config.data_checks import check_classes
from ..distillers.base import BaseDistiller
from ..distillers.collection import check_names
from ..errors import ConfigError, KDPluginsError
from ..registry import HOOKS, MODELS
from ..teachers.collection import build_teachers, teacher_states
from ..utils.build import build
from ..utils.checks import check_integer
from ..utils.rng import forked_rng
from .assignment import Assignment
from .checkpoint_files import clear_partial, make_atomic
from .data_files import check_run_files
from .dry_pass import dry_pass
from .ended_terms import forget_ended
from .freeze import Freeze
from .gradient_shares import WEIGHTS, check_shares
from .inheritance import Inheritance
from .loop_epochs import OptimizerSteps, epoch_length, finished_epoch, is_iteration_loop
from .non_finite import NonFiniteGuard
from .observer import Observer, StepReport, is_dry_run
from .optimizer import DistillOptimizer, check_settings, loss_scaler, wrappers_of
from .restart import Restart
from .run_checks import check_begins, check_switches, schedules_of, student_of
from .run_state import CHECKPOINT_KEY, VERSION, RunState
from .session import DistillSession
from .student_view import StudentView, build_views
from .task_weights import TaskWeights
from .teaching import check_teacher_classes, prepare_teachers, share_classes
from .term_log import (
    Monitored,
    Monitors,
    TermLog,
    TermMeans,
    is_due,
    log_scalars,
    logger_follows,
    read_monitors,
    report_interval,
)
from .unlabelled import PSEUDO, SHIFT, Unlabelled, check_student, check_use


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
        student_view: Config of a view, a change of the images that only the student sees, see
            :class:`~kd_plugins.views.BaseView`; or ``dict(labelled=..., unlabelled=...)`` with one view for each.
        unlabelled: ``dict(dataloader=..., weight=1.0, statistics='labelled', pseudo=None)`` gives the student a second
            forward pass over unlabelled images in each training step, for distillers with ``on='unlabelled'`` and for
            pseudo labels; see :class:`~kd_plugins.hooks.unlabelled.Unlabelled`.
        init_from_teacher: Dotted paths of modules, such as ``['neck', 'bbox_head']``, that start a new run with the
            weights of the frozen teacher, see :func:`~kd_plugins.hooks.inheritance.inherit`; ``None`` for no module.
        restart: ``dict(parts=['head'])`` draws new weights for these parts after ``load_from`` and freezes the
            rest, see :class:`~kd_plugins.hooks.restart.Restart`; ``None`` trains the whole model.
        freeze: ``dict(parts=['backbone'], until=0.1)`` keeps these parts as they are until this share of the run is
            done, see :class:`~kd_plugins.hooks.freeze.Freeze`.
        optimizer: Optimizer of the distillers' own parameters: ``dict(optimizer=dict(...), clip_grad=dict(...))``, see
            :class:`~kd_plugins.hooks.optimizer.DistillOptimizer`; ``None`` takes type and settings of the student's.
        task_weight: Factor on the task losses: a number, a schedule, or a dict of loss keys, with wildcards, to numbers
            or schedules, such as ``{'loss_cls': 0.5}``; see :class:`~kd_plugins.hooks.task_weights.TaskWeights`. Losses
            with the factor 0 are logged as ``task.*`` and train nothing.
        log_interval: Iterations between reports of the terms, at most an epoch; ``None`` uses the interval of the
            LoggerHook.
        atomic_checkpoints: Whether the CheckpointHook writes its local files atomically.
        checks: ``dict(classes=False)`` switches off that the classes of model, data and teacher are compared before
            the first step, ``dict(data=False)`` that the files of the data sets are checked.

    Raises:
        ConfigError: If a part is unknown or misconfigured.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        distillers: dict[str, dict[str, Any] | None],
        teacher: dict[str, Any] | None = None,
        teachers: dict[str, dict[str, Any] | None] | None = None,
        student_view: dict[str, Any] | None = None,
        unlabelled: dict[str, Any] | None = None,
        init_from_teacher: list[str] | None = None,
        restart: dict[str, Any] | None = None,
        freeze: dict[str, Any] | None = None,
        optimizer: dict[str, Any] | None = None,
        task_weight: float | dict[str, Any] = 1.0,
        log_interval: int | None = None,
        atomic_checkpoints: bool = True,
        checks: dict[str, bool] | None = None,
    ) -> None:
        if not isinstance(distillers, dict):
            raise ConfigError(
                f'default_hooks.distill.distillers is {type(distillers).__name__}; give a dict of name to config'
            )
        configs = {name: config for name, config in distillers.items() if config is not None}
        self.distillers: dict[str, BaseDistiller] = {
            name: build(MODELS, config, BaseDistiller, f'distillers.{name}') for name, config in configs.items()
        }
        check_names(self.distillers)
        every = build_teachers(teacher, teachers)
        self.views = build_views(student_view)
        self.unlabelled = None if unlabelled is None else Unlabelled(unlabelled)
        check_use(self.distillers, self.unlabelled, self.views)
        used: set[str | None] = set(Assignment(self.distillers, every).needed(self.distillers))
        if self.unlabelled is not None:
            used.add(self.unlabelled.pseudo_teacher(every))
        self.inheritance = None if init_from_teacher is None else Inheritance(init_from_teacher, every, restart)
        if self.inheritance is not None:
            used.add(self.inheritance.source)
        self.teachers = {name: one for name, one in every.items() if name in used}
        self._unused = [one.key for name, one in every.items() if name not in used]
        self.restart = Restart.of(restart)
        self.freeze = Freeze.of(freeze)
        self.optimizer_settings = check_settings(optimizer)
        self.task_weights = TaskWeights(task_weight)
        check_shares(self.distillers, self.unlabelled, self.task_weights)
        self.checks = check_switches(checks)
        self.log_interval = log_interval
        if log_interval is not None:
            check_integer('default_hooks.distill.log_interval', log_interval, 1, 'valid: None, 10')
        self.atomic_checkpoints = atomic_checkpoints
        self.session: DistillSession | None = None
        self.optimizer: DistillOptimizer | None = None
        self._observers: list[Observer] = [self._on_step]
        self._log = TermLog()
        self._guard = NonFiniteGuard()
        self._state = RunState()
        self._epoch_length: int | None = None

    def subscribe(self, observer: Observer) -> None:
        """Send the report of every training step to an observer; call this before training.

        Args:
            observer: A function of a report, or a :class:`~kd_plugins.hooks.observer.StepObserver`.
        """
        self._observers.append(observer)

    @property
    def inspected(self) -> bool:
        """Whether a command runs a few batches to look at a config, and trains nothing."""
        return is_dry_run(self._observers)

    # Attach and detach.

    def before_train(self, runner: Any) -> None:
        """Attach to the student, after it has loaded or resumed its weights."""
        student = student_of(runner)
        if self.atomic_checkpoints and not self.inspected:
            clear_partial(runner)
        self._end_interrupted(runner)
        self._state.begin(runner)
        if self._state.resumed and 'log' in self._state.resumed:
            self._log.load_state_dict(self._state.resumed['log'])
        self._epoch_length = length = epoch_length(runner)
        self._steps = OptimizerSteps(runner)
        if self.checks['data'] and not self.inspected:
            check_run_files(runner)
        with forked_rng():
            frozen = self.restart.freeze(student) if self.restart is not None else {}
            prepare_teachers(runner, student, self.teachers, frozen, self._state.resumed, length, self.inheritance)
            check_begins(runner, self.distillers, self.teachers, length, self.unlabelled, self.task_weights)
            if self.checks['classes']:
                check_classes(runner.cfg)
                check_teacher_classes(runner, self.distillers.values(), self.teachers, self.unlabelled)
            share_classes(runner, self.distillers.values(), self.teachers)
            for key in self._unused:
                runner.logger.info(f'{key} is not built: no distiller has it as its source.')
            if self.restart is not None:
                self.restart.begin(runner, student, self._state, self.teachers.values(), self.inspected)
            self.session = DistillSession(
                student,
                self.distillers,
                self.teachers,
                lambda: self._on_initialized(runner),
                self._observers,
                *self._prepare_inputs(runner, student),
            )
        self.session.task_weights = self.task_weights
        # A resumed run has the seed of its checkpoint.
        self.session.seed, self.session.iterations = runner.seed, runner.max_iters
        self.session.shares.load_state_dict((self._state.resumed or {}).get(WEIGHTS) or {})
        if is_model_wrapper(runner.model):
            self.session.sync_gradients = lambda: getattr(runner.model, 'require_backward_grad_sync', True)
        try:
            if self.freeze is not None:
                self.freeze.attach(runner, student)
            dry_pass(runner, self.session)
        except KDPluginsError:
            self.after_train(runner)
            raise

    def _prepare_inputs(self, runner: Any, student: nn.Module) -> tuple[Unlabelled | None, StudentView | None]:
        """Build the data set of the unlabelled images, and let the view read how images are normalised."""
        if self.unlabelled is not None:
            check_student(student, self.unlabelled)
            self.unlabelled.open(runner.seed)
            if self.unlabelled.pseudo is not None:
                metainfo = getattr(getattr(runner.train_dataloader, 'dataset', None), 'metainfo', None)
                self.unlabelled.pseudo.bind(student, metainfo)
            if self._state.resumed is not None:
                self.unlabelled.load_state_dict(self._state.resumed.get(PSEUDO) or {})
        if not self.views:
            return self.unlabelled, None
        return self.unlabelled, StudentView(self.views, getattr(student, 'data_preprocessor', None), runner.seed)

    def after_train(self, runner: Any) -> None:
        """Detach; no hook and no attribute of this package stays on the model."""
        if self.unlabelled is not None:
            self.unlabelled.close()
        if self.session is not None:
            self.session.detach()
            self.session = None
        if self.optimizer is not None:
            self.optimizer.remove()
            self.optimizer = None
        if self.restart is not None:
            self.restart.release()
        if self.freeze is not None:
            self.freeze.release()
        self._guard = NonFiniteGuard()

    def _on_initialized(self, runner: Any) -> None:
        """Make the optimizer of the new adapters, and restore their state in a resumed run."""
        assert self.session is not None
        params = [param for param in self.session.distillers.parameters() if param.requires_grad]
        if params:
            self.optimizer = DistillOptimizer(runner, params, self.optimizer_settings, self.session.learning)
        resumed = self._state.resumed
        if resumed:
            try:
                self.session.distillers.load_state_dict(resumed['distillers'])
            except RuntimeError as error:
                raise ConfigError(
                    f'distillers: the resumed checkpoint holds other adapters than this config makes ({error}); '
                    'resume with the config of that run, or start a new run with load_from'
                ) from error
            if self.optimizer is not None and resumed.get('optimizer'):
                self.optimizer.load_state_dict(resumed['optimizer'])
        self._state.resumed = None

    # Every iteration.

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Look up the weights of this iteration, and read its unlabelled images where they count."""
        assert self.session is not None
        self.session.iteration, self.session.epoch = runner.iter, runner.epoch
        if self.freeze is not None:
            self.freeze.progress = runner.iter / runner.max_iters
        length = self._epoch_length or 1
        # After a resume with another batch size, the iterations so far are not those of epochs of this length.
        position = runner.iter if is_iteration_loop(runner) else runner.epoch * length + batch_idx
        if self.restart is not None:
            self.restart.hold()
        for name in self.distillers:
            self.session.weights[name] = self.weight_at(name, runner.iter, runner.max_iters, length, position)
        self.task_weights.update(runner.iter, runner.max_iters, length, position)
        if self.unlabelled is not None:
            self.unlabelled.forget()
            self.unlabelled.weight = self.weight_at(PSEUDO, runner.iter, runner.max_iters, length, position)
            if self.session.wants_unlabelled:
                self.unlabelled.fetch(runner.iter)

    def weight_at(
        self, name: str, iteration: int, max_iters: int, length: int = 1, position: int | None = None
    ) -> float:
        """Return the weight of a distiller's terms in an iteration.

        The factor of unlabelled images is part of the weight of those that teach on them.

        Args:
            name: Name of the distiller, or ``'pseudo'`` for the losses on pseudo labels.
            iteration: 0-based iteration of the run.
            max_iters: Iterations of the run.
            length: Iterations of an epoch.
            position: Iteration for schedules that count epochs, where that differs.
        """
        weight = 1.0
        for schedule in schedules_of(name, self.distillers, self.unlabelled).values():
            step = position if schedule.by_epoch and position is not None else iteration
            weight *= schedule(step, max_iters, length)
        return weight

    def _on_step(self, report: StepReport) -> None:
        self._log.add(report.terms, report.task_loss)
        self._guard.add(report)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop at a non-finite term before a checkpoint is saved, update the teacher, report the terms."""
        assert self.session is not None
        if self.session.passes == 0:
            raise ConfigError(
                f"default_hooks.distill: train_step of '{type(self.session.student).__name__}' did not call the model "
                "with mode='loss', or it returned no dict of losses, so nothing would be distilled; nearest: "
                "mmengine.model.BaseModel.train_step, which calls self(..., mode='loss')"
            )
        stepped = self._steps.stepped(runner)
        if self.optimizer is not None and stepped:
            self.optimizer.after_update()
        scalers = [loss_scaler(wrapper) for wrapper in wrappers_of(runner.optim_wrapper)]
        warning = self._guard.check(runner.iter, next((scaler for scaler in scalers if scaler is not None), None))
        if warning:
            runner.logger.warning(warning)
        self._update_teachers(runner, self.session.student, stepped)
        forget_ended(runner.message_hub, outputs or {})
        length = None if is_iteration_loop(runner) else self._epoch_length
        if is_due(batch_idx, report_interval(runner.hooks, self.log_interval), length):
            means = self._log.take()
            if means:
                reports: list[TermMeans | Monitors] = [*means, *read_monitors(self._monitored())]
                scalars = {name: value for report in reports for name, value in report.scalars().items()}
                log_scalars(runner.visualizer, scalars, runner.iter + 1, logger_follows(runner, self, batch_idx))
                for report in reports:
                    runner.logger.info(report.sentence())

    def _monitored(self) -> dict[str, Monitored]:
        parts: dict[str, Monitored] = {**self.distillers, 'task.weight': self.task_weights}
        if self.session is not None:
            parts.update({f'{name}.weight': one for name, one in self.session.shares.schedules.items()})
        if self.unlabelled is not None:
            parts[SHIFT] = self.unlabelled.separate
            if self.unlabelled.pseudo is not None:
                parts[PSEUDO] = self.unlabelled.pseudo
        return parts

    def after_train_epoch(self, runner: Any) -> None:
        """Update the teacher at the end of an epoch."""
        if self.session is not None and not is_iteration_loop(runner):
            for teacher in self.teachers.values():
                teacher.after_epoch(self.session.student, runner.epoch)

    def _update_teachers(self, runner: Any, student: nn.Module, stepped: bool) -> None:
        epoch = finished_epoch(runner, self._epoch_length)
        for teacher in self.teachers.values():
            if stepped:
                teacher.after_step(student, runner.iter)
            if epoch is not None:
                teacher.after_epoch(student, epoch)

    # Checkpoints.

    def before_run(self, runner: Any) -> None:
        """Refuse a second DistillHook, leave an interrupted run, and make local checkpoint files atomic."""
        count = sum(isinstance(hook, DistillHook) for hook in runner.hooks)
        if count > 1:
            raise ConfigError(
                f'default_hooks and custom_hooks hold {count} DistillHooks, and a checkpoint holds the state of one; '
                'give all distillers to one hook, default_hooks.distill.distillers=dict(first=..., second=...)'
            )
        self._end_interrupted(runner)  # EMAHook copies the student next, and must not copy our hooks
        if self.atomic_checkpoints:
            make_atomic(runner)

    def _end_interrupted(self, runner: Any) -> None:
        """Detach from a run that was interrupted and goes on in the same process, and keep its state."""
        if self.session is not None:
            if self.session.initialized:
                self._state.keep(self._state_dict())
            self.after_train(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add the state of teacher and distillers to a checkpoint that can be resumed; the rest is a plain run's."""
        if self.session is None or 'optimizer' not in checkpoint:
            return
        # Adapters that are made in the first batch of a resumed run have no state yet; its checkpoint's state counts.
        state = self._state.resumed or self._state_dict()
        checkpoint[CHECKPOINT_KEY] = {**state, 'version': VERSION}

    def _state_dict(self) -> dict[str, Any]:
        assert self.session is not None
        pseudo = self.unlabelled.state_dict() if self.unlabelled is not None else {}
        return {
            'teachers': teacher_states(self.teachers),
            'distillers': self.session.distillers.state_dict(),
            'optimizer': self.optimizer.state_dict() if self.optimizer is not None else {},
            'log': self._log.state_dict(),
            **({PSEUDO: pseudo} if pseudo else {}),
            **({WEIGHTS: shares} if (shares := self.session.shares.state_dict()) else {}),
        }

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the state of teacher and distillers, for the case that the run resumes from this checkpoint."""
        self._state.load(checkpoint)
