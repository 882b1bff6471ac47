"""Where motion modules go in the host's UNet, and how they run there."""
