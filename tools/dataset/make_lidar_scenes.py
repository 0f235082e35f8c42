"""Make a LiDAR detection data set by casting rays: the same as ``kd_plugins data lidar-scenes``."""

import sys

from kd_plugins.commands.make_lidar_scenes import main

if __name__ == '__main__':
    sys.exit(main())
