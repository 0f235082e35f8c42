from __future__ import annotations

import pytest

from kd_plugins.config.keypoint_metainfo import keypoint_names
from kd_plugins.errors import ConfigError

NAMES = ('nose', 'left', 'right')


def metainfo(**changes):
    infos = {at: dict(name=name, id=at, swap=swap) for at, (name, swap) in enumerate(zip(NAMES, ('', 'right', 'left')))}
    whole = dict(dataset_name='x', keypoint_info=infos, skeleton_info={}, joint_weights=[1.0] * 3, sigmas=[0.1] * 3)
    return {**whole, **changes}


def test_names_of_valid_metadata():
    assert keypoint_names(metainfo(), 'metainfo') == list(NAMES)


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        (dict(sigmas=[]), 'key.sigmas has 0 entries and keypoint_info 3 keypoints'),
        (dict(sigmas=[0.1, 0.0, 0.1]), 'key.sigmas holds 0.0; give numbers above 0'),
        (dict(joint_weights=[1.0, -1.0, 1.0]), 'key.joint_weights holds -1.0; give numbers from 0 on'),
        (dict(joint_weights=[1.0, float('nan'), 1.0]), 'key.joint_weights holds nan'),
        (dict(keypoint_info={0: dict(name='nose', id=0, swap='nos')}), "swap of 'nose' is 'nos'.*nearest: 'nose'"),
        (dict(keypoint_info={0: dict(id=0)}), "has no 'name'"),
        (dict(skeleton_info={0: dict(link=('nose', 'rigth'))}), "link holds 'rigth'; nearest: 'right'"),
    ],
)
def test_metadata_that_does_not_fit_itself(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        keypoint_names(metainfo(**changes), 'key')


def test_a_missing_key():
    lacking = metainfo()
    del lacking['sigmas']
    with pytest.raises(ConfigError, match="key has no 'sigmas', which MMPose reads"):
        keypoint_names(lacking, 'key')


def test_a_file_without_dataset_info(tmp_path):
    (tmp_path / 'meta.py').write_text('other = 1')
    with pytest.raises(ConfigError, match="key.from_file: '.*meta.py' has no dataset_info"):
        keypoint_names(dict(from_file=str(tmp_path / 'meta.py')), 'key')
