"""Graphs of AnimateDiff-Evolved become graphs of this pack. Standard library only.

`web/conversion/rules.json` has the facts: what each node is called, the order of its widgets, and the
steps that replace it. `converter` takes the steps on a `Graph`, whichever format it was read from.
The modules beside it do the same in the browser; a test compares the two.
"""
