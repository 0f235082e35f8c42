"""Step time and peak memory of training steps."""
