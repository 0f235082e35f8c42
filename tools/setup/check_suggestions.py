"""Paste every entry that ``kd_plugins suggest`` prints for 40 configs of OpenMMLab, and run preflight on the result.

For each config the command is asked twice: without another network, and with a larger sibling as teacher where there is
one. Each config is checked in a process of its own. ``check_suggestions.py rtmdet pspnet`` checks those whose path
holds one of the words. It takes about a minute of one core for each config, and is not part of the gate.
"""

from __future__ import annotations

import io
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kd_plugins.utils.tables import print_table
from tools.setup.check_configs import apart, failed_preflight, warm_context

DET, SEG, POSE, LIDAR = 'mmdet::', 'mmseg::', 'mmpose::body_2d_keypoint/', 'mmdet3d::'
BASES: dict[str, str | None] = {
    f'{DET}atss/atss_r50_fpn_1x_coco.py': f'{DET}atss/atss_r101_fpn_1x_coco.py',
    f'{DET}cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py': f'{DET}cascade_rcnn/cascade-rcnn_r101_fpn_1x_coco.py',
    f'{DET}conditional_detr/conditional-detr_r50_8xb2-50e_coco.py': None,
    f'{DET}dab_detr/dab-detr_r50_8xb2-50e_coco.py': None,
    f'{DET}deformable_detr/deformable-detr_r50_16xb2-50e_coco.py': None,
    f'{DET}detr/detr_r50_8xb2-150e_coco.py': f'{DET}detr/detr_r101_8xb2-500e_coco.py',
    f'{DET}dino/dino-4scale_r50_8xb2-12e_coco.py': None,
    f'{DET}faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py': f'{DET}faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py',
    f'{DET}fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py': f'{DET}fcos/fcos_r101-caffe_fpn_gn-head-1x_coco.py',
    f'{DET}foveabox/fovea_r50_fpn_4xb4-1x_coco.py': f'{DET}foveabox/fovea_r101_fpn_4xb4-1x_coco.py',
    f'{DET}gfl/gfl_r50_fpn_1x_coco.py': f'{DET}gfl/gfl_r101_fpn_ms-2x_coco.py',
    f'{DET}htc/htc_r50_fpn_1x_coco.py': None,
    f'{DET}libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py': None,
    f'{DET}mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py': f'{DET}mask_rcnn/mask-rcnn_r101_fpn_1x_coco.py',
    f'{DET}paa/paa_r50_fpn_1x_coco.py': f'{DET}paa/paa_r101_fpn_1x_coco.py',
    f'{DET}pafpn/faster-rcnn_r50_pafpn_1x_coco.py': None,
    f'{DET}reppoints/reppoints-moment_r50_fpn_1x_coco.py': None,
    f'{DET}retinanet/retinanet_r50_fpn_1x_coco.py': f'{DET}retinanet/retinanet_r101_fpn_1x_coco.py',
    f'{DET}rtmdet/rtmdet_s_8xb32-300e_coco.py': f'{DET}rtmdet/rtmdet_m_8xb32-300e_coco.py',
    f'{DET}rtmdet/rtmdet-ins_s_8xb32-300e_coco.py': None,
    f'{DET}solo/solo_r50_fpn_1x_coco.py': None,
    f'{DET}tood/tood_r50_fpn_1x_coco.py': None,
    f'{DET}vfnet/vfnet_r50_fpn_1x_coco.py': f'{DET}vfnet/vfnet_r101_fpn_1x_coco.py',
    f'{DET}yolo/yolov3_d53_8xb8-ms-416-273e_coco.py': None,
    f'{DET}yolox/yolox_s_8xb8-300e_coco.py': f'{DET}yolox/yolox_l_8xb8-300e_coco.py',
    f'{SEG}deeplabv3/deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py': f'{SEG}deeplabv3/'
    'deeplabv3_r50-d8_4xb2-80k_cityscapes-512x1024.py',
    f'{SEG}fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py': f'{SEG}fcn/fcn_r50-d8_4xb2-80k_cityscapes-512x1024.py',
    f'{SEG}ocrnet/ocrnet_hr18s_4xb2-80k_cityscapes-512x1024.py': None,
    f'{SEG}pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py': f'{SEG}pspnet/'
    'pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py',
    f'{SEG}segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py': f'{SEG}segformer/'
    'segformer_mit-b2_8xb2-160k_ade20k-512x512.py',
    f'{SEG}sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py': f'{SEG}sem_fpn/fpn_r101_4xb2-80k_cityscapes-512x1024.py',
    f'{SEG}unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py': None,
    f'{SEG}upernet/upernet_r18_4xb2-80k_cityscapes-512x1024.py': f'{SEG}upernet/'
    'upernet_r50_4xb2-80k_cityscapes-512x1024.py',
    f'{POSE}rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py': f'{POSE}rtmpose/coco/'
    'rtmpose-m_8xb256-420e_coco-256x192.py',
    f'{POSE}simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py': None,
    f'{POSE}topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py': f'{POSE}topdown_heatmap/coco/'
    'td-hm_hrnet-w48_8xb32-210e_coco-256x192.py',
    f'{POSE}topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py': f'{POSE}topdown_heatmap/coco/'
    'td-hm_res101_8xb64-210e_coco-256x192.py',
    f'{POSE}topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py': f'{POSE}topdown_regression/coco/'
    'td-reg_res101_rle-8xb64-210e_coco-256x192.py',
    f'{LIDAR}pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py': None,
    f'{LIDAR}pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-car.py': None,
}
"""Config to a larger network of the same kind, None where the package has none."""


def check(path: str, teacher: str | None, answer: Any) -> None:
    """Ask for suggestions, and check each of them.

    Args:
        path: The config.
        teacher: Config of the teacher, or None.
        answer: A connection, to which the names of the entries that pass and a list of failures are sent.
    """
    from kd_plugins.commands.suggest import entry_text, suggested
    from kd_plugins.config.loading import load_config

    warnings.simplefilter('ignore')
    passed, failures = list[str](), list[str]()
    try:
        with redirect_stdout(io.StringIO()), TemporaryDirectory() as folder:
            for entry in suggested(load_config(path), teacher):
                if entry.reason:
                    continue
                file = Path(folder) / f'{entry.recipe.name}.py'
                imports = "custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)"
                file.write_text(f"_base_ = '{path}'\n{imports}\n{entry_text(entry.settings)}\n", encoding='utf-8')
                problem = failed_preflight([str(file), '--generated'], lines=3)
                passed += [] if problem else [entry.recipe.name]
                failures += [f'{entry.recipe.name}: {problem}'] if problem else []
    except Exception as error:  # one failure must not stop the others
        failures.append(f'{type(error).__name__}: {error}')
    answer.send((passed, failures))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the suggestions for all configs; return the exit status."""
    args_parser = ArgumentParser(description='Check that every suggested entry passes preflight')
    args_parser.add_argument('words', nargs='*', help='parts of paths; by default every config')
    args_parser.add_argument('--jobs', type=int, default=1, help='configs at once')
    args = args_parser.parse_args(arguments)
    paths = [path for path in BASES if not args.words or any(word in path for word in args.words)]
    context = warm_context()
    asked = [(path, teacher) for path in paths for teacher in dict.fromkeys((None, BASES[path]))]
    rows, failed = [], 0
    with ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        answers = [pool.submit(apart, check, pair, context) for pair in asked]
        for (path, teacher), answer in zip(asked, answers):
            passed, failures = answer.result() or ([], ['its process died'])
            failed += len(failures)
            rows.append([path, 'larger network' if teacher else 'none', str(len(passed)), ', '.join(passed)])
            print(f'{"FAIL" if failures else "ok":5} {path} ({rows[-1][1]}): {len(passed)} entries', flush=True)
            for failure in failures:
                print(f'FAIL  {path}: {failure}', flush=True)
    print_table('Entries that pass preflight', ['config', 'teacher', 'entries', 'names'], rows)
    print(f'{failed} entries failed' if failed else f'every entry of {len(paths)} configs passes preflight')
    return int(bool(failed) or not paths)


if __name__ == '__main__':
    sys.exit(main())
