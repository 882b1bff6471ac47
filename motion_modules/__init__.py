"""What moves: motion module architectures, their checkpoints, and their place in the host's UNet."""

from . import temporal_transformer

__all__ = ["temporal_transformer"]  # importing an architecture registers it
