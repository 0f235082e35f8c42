"""Data that the package makes or reads by itself."""
