"""Motion module architectures, their checkpoints, and their place in the host's UNet."""

from . import adapters, architectures

__all__ = ["adapters", "architectures"]  # importing an adapter or architecture registers it
