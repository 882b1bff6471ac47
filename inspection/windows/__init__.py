"""Preview of context windows, before anything is sampled."""
