"""Reading of configs, and checks of a config before a run."""
