"""What moves: motion module architectures, their checkpoints, and their place in the host's UNet."""
