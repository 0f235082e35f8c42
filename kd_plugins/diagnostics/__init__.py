"""Inspect a config, its gradients and the environment."""
