"""Sampling of clips: what nodes put on a MODEL or CONDITIONING, and what then runs inside the host's sampler.

- animate.py puts a motion model on a MODEL, with its beta schedule (model_sampling.py) and the checks
  of preflight.py.
- windows/ divides long clips, prompts/ gives each frame a prompt, noise/ sets the noise to start from.
- steps.py knows the steps of a sampler.
"""
