"""Checks of one batch, of gradients and of the environment."""
