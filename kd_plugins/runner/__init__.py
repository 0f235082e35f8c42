"""MMEngine's runner: launch, single training steps, separate processes, trained weights and the logs of a run."""
