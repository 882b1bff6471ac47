"""Loader node of Loom Mini for ComfyUI.

Load its motion model with Load Motion Model, like any other.
"""


async def comfy_entrypoint():
    from comfy_api.latest import ComfyExtension

    from .loader_node import LoomMiniLoader

    class LoomMiniExtension(ComfyExtension):
        async def get_node_list(self):
            return [LoomMiniLoader]

    return LoomMiniExtension()
