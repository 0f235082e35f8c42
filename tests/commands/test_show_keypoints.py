"""tools/analysis/show_keypoints.py on small random estimators and two generated photographs, and what it refuses."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('mmpose')
pytest.importorskip('matplotlib')
import cv2
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.config.loading import load_config

ROOT = Path(__file__).resolve().parents[2]
tool = import_module('kd_plugins.commands.show_keypoints')
CONFIG = ROOT / 'configs' / 'dwpose' / 'rtmpose-t_lspet.py'
HEATMAP = ROOT / 'configs' / 'dwpose' / 'simplebaseline-r18_lspet.py'
JOINTS = 14
SMALL = """
_base_ = ['{base}']
model = dict(
    backbone=dict(deepen_factor=0.167, widen_factor=0.0625),
    head=dict(in_channels=64, final_layer_kernel_size=1, gau_cfg=dict(hidden_dims=16, s=8)),
)
"""
SMALL_HEATMAP = """
_base_ = ['{base}']
model = dict(
    backbone=dict(base_channels=4, stem_channels=4),
    head=dict(in_channels=32, deconv_out_channels=(8, 8, 8)),
)
"""


def save(config: Path, seed: int, out: Path) -> None:
    found = load_config(str(config))
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmpose'):
        torch.save({'state_dict': MODELS.build(found.model).state_dict(), 'meta': {}}, out)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: Any) -> Path:
    """Two people in two images, two configs of small estimators, and two checkpoints of the first."""
    root = tmp_path_factory.mktemp('show')
    rng = np.random.default_rng(0)
    (root / 'coco').mkdir()
    (root / 'images').mkdir()
    images, people = [], []
    for number in (1, 2):
        name = f'{number}.png'
        cv2.imwrite(str(root / 'images' / name), rng.integers(0, 255, (100, 120, 3)).astype(np.uint8))
        images.append(dict(id=number, file_name=name, width=120, height=100))
        joints = np.column_stack([rng.uniform(20, 80, (JOINTS, 2)), np.full(JOINTS, 2)])
        joints[5] = 0  # not annotated
        shared = dict(id=number, image_id=number, category_id=1, iscrowd=0, area=900, num_keypoints=JOINTS - 1)
        people.append(dict(shared, bbox=[10 * number, 15, 70, 75], keypoints=joints.round(1).ravel().tolist()))
    data = dict(images=images, annotations=people, categories=[dict(id=1, name='person')])
    (root / 'coco' / 'val.json').write_text(json.dumps(data))
    (root / 'small.py').write_text(SMALL.format(base=CONFIG.as_posix()))
    (root / 'heatmap.py').write_text(SMALL_HEATMAP.format(base=HEATMAP.as_posix()))
    for seed, name in enumerate(('student', 'teacher')):
        save(root / 'small.py', seed, root / f'{name}.pth')
    save(root / 'heatmap.py', 0, root / 'heatmap.pth')
    return root


@pytest.fixture(autouse=True)
def data(monkeypatch: Any, folder: Path) -> None:
    monkeypatch.setenv('LSPET_ROOT', str(folder))


def show(capsys: Any, monkeypatch: Any, *arguments: Any) -> tuple[int, str, str]:
    monkeypatch.delenv('KD_DEBUG', raising=False)
    monkeypatch.setattr(sys, 'argv', ['show_keypoints', *map(str, arguments)])
    status = 0
    try:
        tool.main()
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    found = capsys.readouterr()
    return status, found.out, found.err


def student(folder: Path) -> tuple[Path, Path]:
    return folder / 'small.py', folder / 'student.pth'


def teacher(folder: Path) -> tuple[str, Path, Path]:
    return '--teacher', folder / 'small.py', folder / 'teacher.pth'


def test_a_picture_is_written(capsys: Any, monkeypatch: Any, tmp_path: Path, folder: Path) -> None:
    out = tmp_path / 'new' / 'picture.png'
    status, said, err = show(capsys, monkeypatch, *student(folder), *teacher(folder), '--index', 1, '--out', out)
    assert status == 0, err
    assert str(out) in said
    picture = cv2.imread(str(out))
    assert picture is not None and picture.std() > 0


def test_what_is_drawn_is_what_mmpose_predicts(folder: Path) -> None:
    """MMPose's own inference on the image, its joints moved into the crop by MMPose's own matrix."""
    from mmpose.apis import inference_topdown
    from mmpose.apis.inference import dataset_meta_from_config
    from mmpose.structures.bbox import get_warp_matrix

    arguments = map(str, [*student(folder), *teacher(folder), '--index', 1, '--joints', 'neck', '5'])
    figure = tool.picture(load_config(str(folder / 'small.py')), tool.parser().parse_args(list(arguments)))
    config = load_config(str(folder / 'small.py'))
    for axes, name in zip(figure.axes[1:3], ('teacher', 'student')):
        model = tool.build_estimator(config, str(folder / f'{name}.pth'), 'cpu')
        model.cfg, model.dataset_meta = config, dataset_meta_from_config(config, 'test')
        model.test_cfg.flip_test = False
        image = str(folder / 'images' / '2.png')
        (found,) = inference_topdown(model, image, np.array([[20, 15, 90, 90]], np.float32))
        matrix = get_warp_matrix(found.metainfo['input_center'], found.metainfo['input_scale'], 0.0, (160, 192))
        wanted = cv2.transform(found.pred_instances.keypoints.astype(np.float64), matrix)[0]
        np.testing.assert_allclose(np.asarray(axes.collections[0].get_offsets()), wanted, atol=0.05)
        assert axes.get_title().startswith(f'{name}, ')
    titles = [axes.get_title(loc='left') for axes in figure.axes[3:]]
    assert titles == ['12 neck, x', '12 neck, y', '5 left_ankle, x', '5 left_ankle, y']
    truth = figure.axes[0].collections[0].get_offsets()
    assert np.ma.getmaskarray(truth)[5].all() or np.isnan(np.asarray(truth)[5]).all()
    assert len(figure.axes[3].lines) == 3 and len(figure.axes[5].lines) == 2  # a truth, none


def test_an_image_of_ones_own(folder: Path) -> None:
    config = load_config(str(folder / 'small.py'))
    files = [*student(folder), '--image', folder / 'images' / '2.png', '--top', '2']
    boxed = tool.picture(config, tool.parser().parse_args(list(map(str, [*files, '--bbox', 20, 15, 90, 90]))))
    assert boxed.axes[0].get_title() == 'student' and len(boxed.axes) == 1 + 2 * 2
    # The same crop as that of the annotated person.
    sample, _ = tool.read_sample(config, tool.parser().parse_args(['a', 'b', '--index', '1']))
    image = sample['inputs'].numpy()[::-1].transpose(1, 2, 0)
    np.testing.assert_array_equal(boxed.axes[0].images[0].get_array(), image)
    whole = tool.picture(config, tool.parser().parse_args(list(map(str, files))))
    assert not np.array_equal(whole.axes[0].images[0].get_array(), image)


def test_annotated_boxes_in_place_of_detected_ones(folder: Path) -> None:
    config = load_config(str(folder / 'small.py'), {'test_dataloader.dataset.bbox_file': 'detections.json'})
    sample, _ = tool.read_sample(config, tool.parser().parse_args(['a', 'b']))
    np.testing.assert_array_equal(sample['data_samples'].gt_instances.bboxes, [[10, 15, 80, 90]])


def test_heatmaps_are_drawn_as_images(folder: Path) -> None:
    arguments = ['--teacher', folder / 'heatmap.py', folder / 'heatmap.pth', '--joints', 0, 3, 4]
    args = tool.parser().parse_args(list(map(str, [folder / 'heatmap.py', folder / 'heatmap.pth', *arguments])))
    figure = tool.picture(load_config(str(folder / 'heatmap.py')), args)
    assert len(figure.axes) == 3 + 2 * 3
    assert all(axes.images[0].get_array().shape == (32, 24) for axes in figure.axes[3:])
    assert figure.axes[3].get_title() == '0 right_ankle\nKL 0'  # taught by itself


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--index', '2'], '--index: 2 does not exist; valid: 0 to 1'),
        (['--bbox', '0', '0', '9', '9'], '--bbox: the test data has boxes of its own; give --image with it'),
        (['--image', 'x.png', '--bbox', '9', '0', '9', '9'], '--bbox: 9 0 9 9 is empty'),
        (['--image', 'absent.png'], "absent.png' does not exist"),
        (['--image', '.'], "--image: '.' is no image that OpenCV can read"),
        (['--joints', 'left_hp'], "joints: 'left_hp' does not exist; nearest: 'left_hip'"),
        (['--joints', '14'], "joints: '14' does not exist"),
        (['--top', '0'], '--top: 0 joints cannot be drawn; nearest: 1'),
        (['--out', 'picture.pgn'], "--out: 'picture.pgn' does not end in a known format; nearest: 'png'"),
        (['--device', 'warp'], "--device: 'warp' cannot be used"),
        (['--teacher', 'small.py', 'absent.pth'], "checkpoint: 'absent.pth' does not exist"),
        (['--teacher', 'heatmap.py', 'heatmap.pth'], 'input_size of the teacher is 96x128, and the crop'),
    ],
)
def test_refusals(capsys: Any, monkeypatch: Any, folder: Path, arguments: list[str], sentence: str) -> None:
    monkeypatch.chdir(folder)
    status, _, err = show(capsys, monkeypatch, *student(folder), *arguments)
    assert status == 2, err
    assert sentence in err and 'error: ' in err and 'Traceback' not in err


def test_a_checkpoint_of_another_model_is_a_sentence(capsys: Any, monkeypatch: Any, folder: Path) -> None:
    status, _, err = show(capsys, monkeypatch, folder / 'small.py', folder / 'heatmap.pth')
    assert status == 2 and "error: checkpoint: '" in err and 'Traceback' not in err


def test_data_that_is_not_there_is_a_sentence(capsys: Any, monkeypatch: Any, tmp_path: Path, folder: Path) -> None:
    monkeypatch.setenv('LSPET_ROOT', str(tmp_path / 'absent'))
    status, _, err = show(capsys, monkeypatch, *student(folder))
    assert status == 2 and 'test_dataloader.dataset.data_root' in err and 'LSPET_ROOT' in err
