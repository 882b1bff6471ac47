"""Motion modules in the host's UNet: their sites, and how they run there."""
