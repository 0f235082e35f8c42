"""Subcommands of the ``kd_plugins`` console command."""
