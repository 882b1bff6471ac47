"""Prompts that change from frame to frame.

The node Prompt Schedule parses its text (schedule.py), encodes each prompt once (encoding.py) and
blends the features for every frame (blending.py).
"""
