"""How a clip is sampled: beta schedules, checks before sampling starts, and what is put on a MODEL for them."""
