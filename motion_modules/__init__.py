"""What moves: motion module architectures, their checkpoints, and their place in the host's UNet."""

from . import examples, temporal_transformer

__all__ = ["examples", "temporal_transformer"]  # importing an architecture registers it
