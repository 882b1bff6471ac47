"""Run in a process of its own: let the host import custom-node packs, and print the torch operations that ran.

Arguments: the host's tree, then the folders of the packs, which are imported in that order.
"""

import asyncio
import json
import sys

from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """A context that records the names of all torch operations of this thread."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def main(tree: str, *packs: str) -> None:
    sys.path.insert(0, tree)
    sys.argv = sys.argv[:1]
    from comfy.cli_args import args

    args.cpu = True
    import nodes

    with Operations() as operations:
        imported = [asyncio.run(nodes.load_custom_node(pack)) for pack in packs]
    known = [name for name in nodes.NODE_CLASS_MAPPINGS if name.startswith("Loom")]
    print(json.dumps({"imported": imported, "nodes": known, "operations": operations.names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
