"""Sample a clip repeatedly, for a steadier one."""

from comfy_api.latest import io

from ..sampling.noise.free_init import FreeInitSettings
from ..sampling.noise.frequency_filters import FILTERS, FilterSettings
from ..sampling.noise.repeated_sampling import add_free_init
from .inputs import CATEGORY, advanced_float

MAX_ITERATIONS, MAX_ORDER = 20, 16


class FreeInit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomFreeInit",
            display_name="FreeInit",
            category=CATEGORY,
            description="Makes a clip steadier without training. It samples the clip several times, and each time "
            "starts from noise that keeps the layout and the slow motion of the clip before.",
            search_aliases=["FreqPrior", "FreeInit Iteration Options", "temporal consistency", "iterations", "flicker"],
            inputs=[
                io.Model.Input("model", tooltip="Model to sample with FreeInit."),
                io.Int.Input(
                    "iterations",
                    default=3,
                    min=1,
                    max=MAX_ITERATIONS,
                    tooltip="Number of times that the clip is sampled. 1 is the same as without this node.",
                ),
                io.Combo.Input(
                    "filter",
                    options=list(FILTERS),
                    default="butterworth",
                    tooltip="Filter that divides low from high frequencies. gaussian keeps more of the clip before, "
                    "for models that flicker strongly.",
                ),
                io.Boolean.Input(
                    "variance_preserving",
                    default=True,
                    tooltip="On keeps the noise at full strength (FreqPrior), so that motion and detail stay. Off is "
                    "the original FreeInit, which is calmer.",
                ),
                advanced_float(
                    "early_stop",
                    default=0.68,
                    tooltip="Part of the steps that all iterations but the last one take. 1 changes little and takes "
                    "longer.",
                ),
                io.Boolean.Input(
                    "coarse_to_fine",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Early iterations take fewer, larger steps, which saves time.",
                ),
                advanced_float(
                    "spatial_cutoff",
                    default=0.25,
                    tooltip="Highest frequency in height and width that is kept, relative to the highest there is.",
                ),
                advanced_float(
                    "temporal_cutoff",
                    default=0.25,
                    tooltip="Highest frequency along frames that is kept. Lower values keep only slower motion.",
                ),
                io.Int.Input(
                    "order",
                    default=4,
                    min=1,
                    max=MAX_ORDER,
                    optional=True,
                    advanced=True,
                    tooltip="Steepness of the butterworth filter. The other filters ignore it.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model,
        iterations: int,
        filter: str,
        variance_preserving: bool,
        early_stop: float = 0.68,
        coarse_to_fine: bool = False,
        spatial_cutoff: float = 0.25,
        temporal_cutoff: float = 0.25,
        order: int = 4,
    ) -> io.NodeOutput:
        passes = FilterSettings(filter, spatial_cutoff, temporal_cutoff, order)
        settings = FreeInitSettings(iterations, passes, variance_preserving, coarse_to_fine, early_stop)
        return io.NodeOutput(add_free_init(model, settings))
