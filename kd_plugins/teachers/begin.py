"""Begin of teaching, counted in iterations or epochs."""

from __future__ import annotations

from ..errors import ConfigError


class Begin:
    """The moment from which a teacher teaches.

    Args:
        begin: Iteration or epoch, 0-based; 0 for the start of the run.
        by_epoch: Whether ``begin`` counts epochs. In a loop of iterations an epoch is one pass over the data loader.
        key: Config key of the teacher.
        what: What would never teach, for the error sentence.

    Attributes:
        reached: Whether the teacher has begun.

    Raises:
        ConfigError: If ``begin`` is negative.
    """

    def __init__(self, begin: int, by_epoch: bool, key: str, what: str) -> None:
        if begin < 0:
            raise ConfigError(f'{key}.begin is {begin}; it must be at least 0')
        self.begin, self.by_epoch, self.key, self.what = begin, by_epoch, key, what
        self.reached = False

    def prepare(self, iteration: int, epoch: int) -> None:
        """Set :attr:`reached` at the start of training, from the 0-based iteration and epoch."""
        self.reached = (epoch if self.by_epoch else iteration) >= self.begin

    def after_step(self, iteration: int) -> bool:
        """Return whether teaching begins after an optimizer step in ``iteration``, and keep it."""
        return self._advance(not self.by_epoch and iteration + 1 >= self.begin)

    def after_epoch(self, epoch: int) -> bool:
        """Return whether teaching begins after ``epoch``, and keep it."""
        return self._advance(self.by_epoch and epoch + 1 >= self.begin)

    def _advance(self, due: bool) -> bool:
        begins = due and not self.reached
        self.reached = self.reached or due
        return begins

    def check(self, epoch_length: int, max_iters: int) -> None:
        """Refuse a run that ends before the begin.

        Args:
            epoch_length: Iterations of an epoch.
            max_iters: Iterations of the run.

        Raises:
            ConfigError: If the teacher would never teach.
        """
        begin = self.begin * epoch_length if self.by_epoch else self.begin
        if self.reached or begin < max_iters:
            return
        unit, length = ('epochs', max_iters // epoch_length) if self.by_epoch else ('iterations', max_iters)
        raise ConfigError(
            f'{self.key}.begin is {self.begin} {unit} and the run ends after {length}, so {self.what} would never '
            f'teach; nearest: begin={max(0, length - 1)}'
        )
