"""The version of kd_plugins, read by the build."""

__version__ = '0.1.0'
