"""Noise of a clip."""
