"""Read configs and check them before a run."""
