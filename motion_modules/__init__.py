"""Motion module architectures, their checkpoints, and their place in the host's UNet."""

from . import architectures

__all__ = ["architectures"]  # importing an architecture registers it
