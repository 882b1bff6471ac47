"""SparseCtrl: a network beside the UNet with motion modules inside, and its files."""
