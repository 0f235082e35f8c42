"""Protocol files: what is read, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.comparison.protocol import Training, read_protocol
from kd_plugins.errors import ConfigError

ROOT = Path(__file__).parents[2]
TEXT = """
question = 'Does it?'
arms = dict(
    plain=dict(config='plain.py'),
    first=dict(config='first.py', options={'a.teacher': '{big}', 'a.part': 'fold_{seed}'}, note='taught'),
    second=dict(config='second.py', options={'load_from': '{first}'}),
)
teachers = dict(big=dict(config='big.py'))
metrics = ('AP', 'AP75')
contrasts = (('first', 'plain'),)
refuted_if = 'It does not.'
"""


def write(folder: Path, text: str = TEXT) -> Path:
    path = folder / 'trial' / 'protocol.py'
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_protocol_is_read(tmp_path: Path) -> None:
    protocol = read_protocol(write(tmp_path))
    assert protocol.name == 'trial' and protocol.seeds == (0, 1, 2) and protocol.contrasts == (('first', 'plain'),)
    assert [arm.name for arm in protocol.arms] == ['plain', 'first', 'second'] and protocol.teachers[0].teacher
    assert protocol.arms[1].needs == ['big'] and protocol.arms[0].needs == []
    assert protocol.test_last


def test_some_arms_bring_what_they_need(tmp_path: Path) -> None:
    protocol = read_protocol(write(tmp_path))
    assert sorted(protocol.needed_by(['second'])) == ['big', 'first', 'second']
    assert sorted(protocol.needed_by()) == ['big', 'first', 'plain', 'second']
    with pytest.raises(ConfigError, match=r"--arms is 'frst'; .*'first'"):
        protocol.needed_by(['frst'])


def test_placeholders_are_replaced() -> None:
    training = Training('first', 'a.py', {'a': '{big}', 'b': 'fold_{seed}'})
    assert training.option_words({'seed': '3'}) == ['a={big}', 'b=fold_3']
    assert training.option_words({'seed': '3', 'big': 'x.pth'}) == ['a=x.pth', 'b=fold_3']


@pytest.mark.parametrize(
    ('old', 'new', 'sentence'),
    [
        ('refuted_if', 'refuted_when', "is 'refuted_when'; .*'refuted_if'"),
        ("refuted_if = 'It does not.'", '', 'has no refuted_if, which must be written down'),
        ("'{first}'", "'{frst}'", r"'second' mention '\{frst\}', .* 'first'"),
        ("'{big}'", "'{second}'", r"'first' mention '\{second\}'"),
        ('note=', 'text=', "arms.first is 'text'; .*'note'"),
        ("('first', 'plain')", "('first', 'plane')", "contrasts is 'plane'; .*'plain'"),
        ('big=dict(config', "plain=dict(config='x.py'), big=dict(config", "two trainings named 'plain'"),
        ("plain=dict(config='plain.py')", 'plain=dict()', 'arms.plain names no config'),
        ('question =', 'question', 'cannot be read'),
        ("('AP', 'AP75')", "'AP'", r"metrics is 'AP'; give a list, such as \('coco/bbox_mAP',\)"),
        ('refuted_if', 'seeds = 3\nrefuted_if', r'seeds is 3; give a list, such as \(0, 1, 2\)'),
        (
            'refuted_if',
            'seeds = (0, 1)\nmore_seeds = (1, 2)\nrefuted_if',
            r'\(0, 1\) and more_seeds \(1, 2\) repeat a seed',
        ),
        (
            'refuted_if',
            'stop_after = 3\nrefuted_if',
            'stop_after is 3, and no seed is left to stop; give a number of seeds up to 2',
        ),
        ('refuted_if', 'stop_after = -1\nrefuted_if', 'stop_after is -1; .*give a number of seeds up to 2'),
        ('refuted_if', "seeds = ('0', 1)\nrefuted_if", r"seeds is '0'; give a list, such as \(0, 1, 2\)"),
        ("('first', 'plain')", "('first', 'first')", r"contrasts has \('first', 'first'\); give pairs"),
        ("(('first', 'plain'),)", "('first', 'plain')", "contrasts has 'first'; give pairs of arms"),
        ("plain=dict(config='plain.py')", "plain='plain.py'", "arms.plain is 'plain.py'; give dict"),
        ("teachers = dict(big=dict(config='big.py'))", "teachers = ['big.py']", r"teachers is \['big.py'\]; give dict"),
        ("config='plain.py'", 'config=3', 'arms.plain.config is 3; give'),
        ("config='plain.py'", "config='plain.py', options='a=1'", "arms.plain.options is 'a=1'; give dict"),
        ("'{big}'", "'{big'", r"first.options: a.teacher is '\{big', which lacks a brace"),
        ("('AP', 'AP75')", "('AP', 3)", 'metrics has 3; give'),
    ],
)
def test_faults_are_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError, match=sentence):
        read_protocol(write(tmp_path, TEXT.replace(old, new)))


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ("model = dict(type='GFL')\n", 'is the config of a training; expected a protocol, a file with question, arms'),
        ("fold = int('{{$FOLD:0}}')\n", r'cannot be read: ValueError: invalid literal .*; expected a protocol, a file'),
        ('seeds = range(1 / 0)\n', 'cannot be read: ZeroDivisionError: division by zero; expected a protocol'),
    ],
)
def test_a_file_that_is_no_protocol_is_said_to_be(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=rf"^protocol '.*' {sentence}"):
        read_protocol(write(tmp_path, text))


def test_a_protocol_that_is_no_file_names_the_nearest_one(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    with pytest.raises(ConfigError, match=rf"protocol '{path.parent}' is a folder; (nearest|valid): '{path}'"):
        read_protocol(path.parent)
    wrong = tmp_path / 'trail' / 'protocol.py'
    with pytest.raises(ConfigError, match=rf"protocol '{wrong}' does not exist; nearest: '{path}'"):
        read_protocol(wrong)


@pytest.mark.parametrize('path', sorted(ROOT.glob('results/*/protocol.py')), ids=lambda path: path.parent.name)
def test_the_configs_of_a_shipped_protocol_exist(path: Path) -> None:
    protocol = read_protocol(path)
    missing = [
        training.config for training in (*protocol.arms, *protocol.teachers) if not (ROOT / training.config).is_file()
    ]
    assert missing == []
