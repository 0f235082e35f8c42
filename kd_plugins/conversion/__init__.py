"""Conversion of checkpoints of other programs to the names of the models here."""
