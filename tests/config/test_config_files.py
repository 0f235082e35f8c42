"""Which files a config names."""

from __future__ import annotations

from pathlib import Path

from kd_plugins.config.config_files import files_of


def test_bases_teachers_and_circles(tmp_path: Path) -> None:
    texts = {
        'a/child.py': "_base_ = ['./middle.py',\n          'mmdet::gfl/x.py']\nteacher = dict(config='b/teacher.py')\n",
        'a/middle.py': "_base_ = 'kd_plugins::b/base.py'\n",
        'b/base.py': "_base_ = '../a/middle.py'\n",  # a circle, which MMEngine refuses
        'b/teacher.py': "_base_ = 'absent.py'\n",
        'b/other.py': '',
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def names(**settings: bool) -> list[str]:
        files = files_of(tmp_path / 'a' / 'child.py', tmp_path, **settings)
        return sorted(file.relative_to(tmp_path.resolve()).as_posix() for file in files)

    assert names() == ['a/child.py', 'a/middle.py', 'b/base.py', 'b/teacher.py']
    assert names(bases_only=True) == ['a/child.py', 'a/middle.py', 'b/base.py']
