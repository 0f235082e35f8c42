"""Draw docs/_static/schedules.png: ``python docs/examples/plot_schedules.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use('agg')
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kd_plugins.schedules import build_schedule

ITERATIONS = 1000
SCHEDULES = (
    dict(type='kd_plugins.Constant', value=1.0, begin=200),
    dict(type='kd_plugins.LinearWarmup', value=1.0, begin=200, end=500),
    dict(type='kd_plugins.LinearDecay', value=1.0, begin=200, end=800),
    dict(type='kd_plugins.Cosine', value=1.0, begin=200, end=800, end_value=0.2),
    dict(type='kd_plugins.Step', value=1.0, milestones=[400, 700], gamma=0.4),
    dict(type='kd_plugins.Stop', value=1.0, begin=200, end=800),
)


def draw(path: Path) -> None:
    """Draw every schedule over a run of 1000 iterations."""
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 4.6), sharex=True, sharey=True, layout='constrained')
    for axis, config in zip(axes.flat, SCHEDULES):
        schedule = build_schedule(dict(config))
        axis.plot([schedule(step, ITERATIONS) for step in range(ITERATIONS)], linewidth=2)
        rest = ', '.join(f'{key}={value}' for key, value in config.items() if key not in ('type', 'value'))
        axis.set_title(f'{type(schedule).__name__}\n{rest}', fontsize=9)
        axis.set_ylim(-0.05, 1.1)
        axis.grid(alpha=0.3)
    figure.supxlabel('iteration')
    figure.supylabel('weight')
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    draw(Path(__file__).resolve().parents[1] / '_static' / 'schedules.png')
