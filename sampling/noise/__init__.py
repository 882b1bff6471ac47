"""The noise of a clip."""
