"""Draw the keypoints of teacher and student: the same as ``kd_plugins show keypoints``."""

import sys

from kd_plugins.commands.show_keypoints import main

if __name__ == '__main__':
    sys.exit(main())
