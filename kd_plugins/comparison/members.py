"""Members of a comparison: the given configs and the arms that are made from them, with configs written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..config.loading import load_config
from ..errors import ConfigError
from ..utils.files import write_atomically
from .controls import CONTROLS
from .plan import Arm, make_arm

CONFIGS = 'configs'
"""Folder of written-out configs below the work_dir of a comparison."""
BASELINE, DISTILLED, CONTROL, EQUAL_COMPUTE = 'baseline', 'distilled', 'control', 'equal compute'


@dataclass(frozen=True)
class Member:
    """One arm with its place in the comparison.

    Attributes:
        arm: The arm.
        config: Its resolved config.
        kind: ``'baseline'``, ``'distilled'``, ``'control'`` or ``'equal compute'``.
        text: What it is, after its name; empty for a given config.
        remarks: What to know before believing it.
    """

    arm: Arm
    config: Config
    kind: str
    text: str = ''
    remarks: tuple[str, ...] = ()


def write_config(config: Config, path: Path) -> None:
    """Write a resolved config, in the form that ``kd_plugins train`` reads; an equal file is left alone."""
    text = config.pretty_text.encode()
    if not path.is_file() or path.read_bytes() != text:
        write_atomically(path, text)


def written(config: Config, name: str, work_dir: Path) -> tuple[Arm, Config]:
    """Write the config of an arm into the folder of the comparison and return the arm, and the config as it is read."""
    path = work_dir / CONFIGS / f'{name}.py'
    write_config(config, path)
    config = load_config(str(path))
    return make_arm(str(path), config, name), config


def make_controls(members: Sequence[Member], names: Sequence[str], work_dir: Path) -> tuple[list[Member], list[str]]:
    """Make the controls of a comparison, each for every distilled config that it fits.

    Args:
        members: The baseline and the distilled configs.
        names: Keys of :data:`~kd_plugins.comparison.controls.CONTROLS`.
        work_dir: Folder of the comparison.

    Returns:
        The controls, and one remark for each distilled config that a control does not fit.

    Raises:
        ConfigError: If a control fits no distilled config.
    """
    base, distilled = members[0], [member for member in members if member.kind == DISTILLED]
    made: list[Member] = []
    remarks: list[str] = []
    for name in dict.fromkeys(names):
        refused = []
        for member in distilled:
            control = CONTROLS[name]
            try:
                result = control.make(base.config, member.config, work_dir / CONFIGS)
            except ConfigError as error:
                refused.append(f"--control {name} does not fit '{member.arm.path}': {error}")
                continue
            source = base if control.changes == 'baseline' else member
            taken = {other.arm.name: other for other in made}
            arm_name = f'{source.arm.name}_{name}'
            twin = taken.get(arm_name)
            if twin is not None:
                arm_name = f'{arm_name}_{member.arm.name}'
                taken_text = (work_dir / CONFIGS / f'{twin.arm.name}.py').read_text(encoding='utf-8')
                if result.config.pretty_text == taken_text:
                    continue  # the same control, asked for by another distilled config
            arm, config = written(result.config, arm_name, work_dir)
            made.append(Member(arm, config, CONTROL, result.text, tuple(result.remarks)))
        if len(refused) == len(distilled):
            raise ConfigError(refused[0])
        remarks += refused
    return made, remarks
