"""Loom Mini, a small text-to-video model. Load Loom Mini uses `architecture`; the rest trains and measures it."""
