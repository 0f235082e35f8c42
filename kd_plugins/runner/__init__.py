"""Build and drive the runner of MMEngine, and read what it wrote."""
