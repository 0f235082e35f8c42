"""What the shell scripts start; PYTHON=echo stands in for Python."""

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
pytestmark = pytest.mark.skipif(os.name == 'nt', reason='needs bash')


def start(script, *arguments, **environment):
    command = ['bash', str(TOOLS / script), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, 'PYTHON': 'echo', **environment}, check=False
    )


@pytest.mark.parametrize(
    ('script', 'arguments', 'command'),
    [
        ('dist_train.sh', ['a.py', '2', '--amp', '--cfg-options', 'x=1'], 'train a.py --amp --cfg-options x=1'),
        ('dist_test.sh', ['a.py', 'a.pth', '2'], 'test a.py a.pth'),
    ],
)
def test_processes_of_one_machine(script, arguments, command):
    words = start(script, *arguments, PORT='29511').stdout.strip()
    assert words.startswith('-m torch.distributed.run --nnodes=1')
    assert '--master_port=29511 --nproc_per_node=2 ' in words
    assert words.endswith(f' -m kd_plugins {command} --launcher pytorch')


@pytest.mark.parametrize('script', ['dist.sh', 'dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_too_few_arguments_show_the_usage(script):
    done = start(script, 'a.py')
    assert done.returncode == 2 and done.stderr.startswith('usage: ') and done.stdout == ''
