from __future__ import annotations

import numpy as np
import pytest
from mmengine.config import Config

from kd_plugins.data_checks.mask_labels import Labels, check_labels, heads_of, label_notes, one_class
from kd_plugins.data_checks.mask_values import Mask, loaded_values
from kd_plugins.errors import ConfigError

TABLE = loaded_values(False, None)
LABELS = Labels('model.decode_head.num_classes', 2, (255,), ('background', 'cell'), True)


def masks(*values):
    return [Mask(f'{index}.png', (4, 4), np.array(stored)) for index, stored in enumerate(values)]


def test_heads_have_their_config_keys():
    model = dict(decode_head=dict(num_classes=2), auxiliary_head=[dict(num_classes=2), dict(num_classes=3)])
    keys = [key for key, _ in heads_of(Config(dict(model=model)))]
    assert keys == ['model.decode_head', 'model.auxiliary_head.0', 'model.auxiliary_head.1']


def test_labels_of_classes_and_ignored_pixels_pass():
    check_labels(masks([0, 1], [1, 255]), TABLE, LABELS, False)
    with pytest.raises(ConfigError, match=r"'1.png' holds the value 2 \(1 of 2 masks hold such values\)"):
        check_labels(masks([0, 1], [1, 2]), TABLE, LABELS, False)


def test_masks_of_one_class_and_classes_without_a_pixel():
    assert one_class(masks([0, 1]), TABLE, LABELS, False) is None
    assert one_class(masks([0], [0, 255]), TABLE, LABELS, False)
    assert list(label_notes(masks([0, 1]), TABLE, LABELS)) == []
