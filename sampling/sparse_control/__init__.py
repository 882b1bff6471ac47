"""SparseCtrl on prompts: a few pictures at some frames guide the whole clip.

Places of the pictures: places.py. The host's control object: control.py.
"""
