"""Compare the gradients of distillation terms with the task's: the same as ``kd_plugins show gradients``."""

import sys

from kd_plugins.commands.show_gradients import main

if __name__ == '__main__':
    sys.exit(main())
