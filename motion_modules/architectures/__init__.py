"""Architectures of motion modules: one file each, beside what all of them share.

A file works in another pack as it stands: there, the decorator becomes an entry of the list that
`registry.py` describes. `scripts/new_module.py` adds a file.
"""

from importlib import import_module
from pkgutil import iter_modules

for file in sorted(each.name for each in iter_modules(__path__)):
    import_module(f"{__name__}.{file}")  # this registers it
