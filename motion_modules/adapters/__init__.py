"""Parts that some families add to the UNet beside their motion modules: encoders and convolutions for other inputs.

To add an adapter, write one file here and import it below:

1. A config: a frozen dataclass with the class method `from_shapes(shapes)`, which derives it from
   the tensors of a file and raises ValueError or KeyError where they are not those of the adapter.
2. A condition: a frozen dataclass with what a node gives for a clip, such as pictures or a camera
   path, by frame of the whole clip, and `check_clip`. The node puts it on a MODEL with
   `conditions.put_condition`.
3. An `nn.Module` with `__init__(self, config, ops=nn, **factory)` as in contract.py, whose
   `forward(condition, inputs)` returns `AdapterEffects`: what it does in one evaluation, and where.
   For a place that no adapter has used yet, add a field to `AdapterEffects` and run it in
   `unet.placement`.
4. An `Adapter` record (adapter.py) under the decorator `adapter`: which tensors of a file belong to
   it, in which UNet it works, what users have to connect.
5. A `Family` with `adapters=("key",)`, and its recipe.

Loading, precision, memory, clones, other GPUs, saving, replacing modules, and the refusal of a
motion model without its condition then work without further code.
"""

from . import camera_ctrl, lcm_i2v, pia

__all__ = ["camera_ctrl", "lcm_i2v", "pia"]  # importing an adapter registers it
