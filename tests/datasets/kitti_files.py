"""A KITTI folder of two small frames, and the real one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'kitti' / 'training'
LABEL = 'Car 0.10 1 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n'
CALIBRATION = (
    'P0: ' + ' '.join(['1'] * 12) + '\nP2: 700 0 600 40 0 700 180 0.2 0 0 1 0.003\n'
    'R0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: 0 -1 0 0.1 0 0 -1 -0.2 1 0 0 -0.3\n\n'
)


def write_frames(folder: Path) -> Path:
    """Write frames 000004 and 000007, one car and one DontCare area each; only the second has an image."""
    for name in ('velodyne', 'calib', 'label_2', 'image_2'):
        (folder / name).mkdir()
    for frame in ('000007', '000004'):
        np.ones((5, 4), np.float32).tofile(folder / 'velodyne' / f'{frame}.bin')
        (folder / 'calib' / f'{frame}.txt').write_text(CALIBRATION)
        (folder / 'label_2' / f'{frame}.txt').write_text(LABEL + LABEL.replace('Car', 'DontCare') + '\n')
    header = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR' + struct.pack('>II', 1224, 370)
    (folder / 'image_2' / '000007.png').write_bytes(header)
    return folder
