"""MMEngine's runner: building it, single steps, processes, trained weights and the logs of a run."""
