"""Context windows: sampling of clips that are longer than a motion model can see at once.

From node to result:

1. The node Context Windows builds a `ContextSettings` (settings.py) and calls `add_context_windows`
   (on_model.py), which puts a `LoomContextHandler` (handler.py) and two wrappers on a clone of the
   MODEL.
2. When a sampler starts, the wrapper `sample_in_windows` (on_model.py) checks latent and conds, and
   begins a `ContextRun` (run.py). A clip that another sampler left with noise is known by its content
   (continuation.py).
3. In each evaluation, the host calls the handler, which picks the settings for this noise level and
   calls `predict` of a `WindowEvaluation` (evaluation.py).
4. The run returns the windows of the step (schedules.py) with their weights (fusion.py). Conds
   (conds.py) and ControlNets (controls.py) are cut to each window, and windows are distributed over
   devices (devices.py). A picture larger than a tile (tiles.py) is cut first, with its conds
   (tile_conds.py), and evaluated tile by tile (tiled_evaluation.py).
5. The result is the weighted mean of the windows' predictions. Optionally, the first window passes
   its look on to the others (reference.py).
"""
