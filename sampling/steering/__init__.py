"""Motion that is steered: a strength that varies over frames, sampling, places in the picture and sites.

The node Motion Strength reads curves and sites from text (curves.py, site_values.py) and multiplies
everything (strength.py). motion_modules/unet/variation.py applies it in the UNet.
"""
