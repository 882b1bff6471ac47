"""Prompts that change from frame to frame.

The node Prompt Schedule reads keyframes from its text (notations.py and the files of each notation),
plans the mixture of every frame (schedule.py), encodes each prompt once (encoding.py) and blends the
features (blending.py).
"""
