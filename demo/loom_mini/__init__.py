"""Loom Mini's loader for ComfyUI. The motion model beside it is loaded with Load Motion Model, like any other."""


async def comfy_entrypoint():
    from comfy_api.latest import ComfyExtension

    from .loader_node import LoomMiniLoader

    class LoomMiniExtension(ComfyExtension):
        async def get_node_list(self):
            return [LoomMiniLoader]

    return LoomMiniExtension()
