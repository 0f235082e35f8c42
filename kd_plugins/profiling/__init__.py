"""Time and peak memory of training steps."""
