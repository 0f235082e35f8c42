"""Print the state of the environment: the same as ``kd_plugins doctor``, also where nothing is installed."""

import sys
from pathlib import Path
from types import ModuleType

# An empty package in place of kd_plugins/__init__.py, which imports PyTorch and MMEngine. In a wheel, this file lies in
# kd_plugins/.mim/tools.
TOOLS = Path(__file__).resolve().parent
package = ModuleType('kd_plugins')
package.__path__ = [str(TOOLS.parents[1] if TOOLS.parent.name == '.mim' else TOOLS.parent / 'kd_plugins')]
sys.modules['kd_plugins'] = package

from kd_plugins.commands.doctor import main

if __name__ == '__main__':
    sys.exit(main())
