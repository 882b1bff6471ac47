"""Four complete architectures to start your own from; each file is one, and works in another pack as it stands.

There, the decorator becomes an entry of the list that `registry.py` describes.
"""

from . import low_rank_attention, scale_shift, space_time_attention, temporal_convolution

__all__ = ["low_rank_attention", "scale_shift", "space_time_attention", "temporal_convolution"]  # this registers them
