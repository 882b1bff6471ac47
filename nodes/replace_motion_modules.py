"""Put motion modules of one motion model into another."""

from comfy_api.latest import io

from ..motion_modules.files.replacing import MODES, REPLACE, replace_modules
from .inputs import CATEGORY, MotionModelSocket, sites


class ReplaceMotionModules(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomReplaceMotionModules",
            display_name="Replace Motion Modules",
            category=CATEGORY,
            description="Copies a motion model and replaces its modules at selected sites with those of another "
            "motion model, or runs those after them.",
            search_aliases=["swap motion modules", "stack motion modules", "merge motion models", "custom module"],
            inputs=[
                MotionModelSocket.Input("motion_model", tooltip="Motion model to copy and modify."),
                MotionModelSocket.Input("modules", tooltip="Motion model to take modules from."),
                sites(
                    "Sites of the modules to take, separated by commas: down.1 is a level, up.1.2 a single module, mid "
                    "the middle block, up.* all up blocks, * every site."
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=REPLACE,
                    optional=True,
                    tooltip="stack keeps the existing modules and runs the others after them.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model")],
        )

    @classmethod
    def execute(cls, motion_model, modules, sites: str, mode: str = REPLACE) -> io.NodeOutput:
        return io.NodeOutput(replace_modules(motion_model, modules, sites, mode))
