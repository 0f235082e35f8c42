"""Checks of a batch, of gradients and of the environment."""
