"""Create an untrained motion model."""

from comfy_api.latest import io

from ..motion_modules.architectures.architecture import OUR_NAME, Architecture, accept_any_clip
from ..motion_modules.architectures.registry import KnownArchitectures, architectures, log_refused
from ..motion_modules.architectures.trial import SITE
from ..motion_modules.beta_schedules import BETA_SCHEDULES
from ..motion_modules.contract import UNLIMITED
from ..motion_modules.families import USUAL_BETA_SCHEDULE
from ..motion_modules.files.untrained import TargetClip, create_motion_model
from .inputs import CATEGORY, MAX_WINDOW, MotionModelSocket, describe_refused, sites

FIRST_CHOICE = "temporal_transformer"


class NewMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        known = log_refused(architectures())
        refused = describe_refused(known)
        return io.Schema(
            node_id="LoomNewMotionModel",
            display_name="New Motion Model",
            category=CATEGORY,
            description="Creates an untrained motion model that fits a model. It changes nothing until it is trained. "
            "Use it to start training, or to try out an architecture.",
            search_aliases=["custom motion module", "architecture", "fresh motion model", "untrained"],
            inputs=[
                io.Model.Input("model", tooltip="UNet model to fit, such as SD1.5 or SDXL."),
                io.DynamicCombo.Input(
                    "architecture",
                    options=_architecture_options(known),
                    tooltip="Architecture of the motion modules. temporal_transformer is that of AnimateDiff. Other "
                    f"custom-node packs can add more.{refused}",
                ),
                io.Int.Input(
                    "frames", default=16, min=1, max=MAX_WINDOW, tooltip="Number of frames in the training clips."
                ),
                sites(
                    "Sites of the UNet that receive a motion module, for example down.1, up.*, mid. * selects every "
                    "site that this architecture supports."
                ),
                io.Combo.Input(
                    "beta_schedule",
                    options=list(BETA_SCHEDULES),
                    default=USUAL_BETA_SCHEDULE,
                    optional=True,
                    advanced=True,
                    tooltip="Noise schedule to train with. auto in Apply Motion Model then selects it.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=False,
                    optional=True,
                    advanced=True,
                    tooltip="Seed of the random weights. It has no visible effect before training.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model", tooltip=refused.strip())],
        )

    @classmethod
    def execute(
        cls,
        model,
        architecture: dict,
        frames: int,
        sites: str,
        beta_schedule: str = USUAL_BETA_SCHEDULE,
        seed: int = 0,
    ) -> io.NodeOutput:
        limits = {name: architecture[name] for name in ("positions", "width", "height") if name in architecture}
        return io.NodeOutput(
            create_motion_model(
                model,
                architecture["architecture"],
                TargetClip(frames, **limits),
                sites=sites,
                beta_schedule=beta_schedule,
                seed=seed,
            )
        )


def _architecture_options(known: KnownArchitectures) -> list[io.DynamicCombo.Option]:
    """Return a choice for each registered architecture: AnimateDiff's, this pack's others, those of other packs."""
    ordered = sorted(known.usable.values(), key=lambda each: (each.origin != OUR_NAME, each.key != FIRST_CHOICE))
    return [_describe_option(architecture) for architecture in ordered]


def _describe_option(architecture: Architecture) -> io.DynamicCombo.Option:
    """Return the choice of `architecture`, with the inputs that the shape of its modules depends on."""
    limited = architecture.config.for_site(SITE).positions != UNLIMITED
    sized = architecture.objection is not accept_any_clip
    inputs: list[io.Input] = [_positions()] if limited else []
    if sized:
        inputs += [_size("width"), _size("height")]
    return io.DynamicCombo.Option(architecture.key, inputs)


def _positions() -> io.Int.Input:
    return io.Int.Input(
        "positions",
        default=32,
        min=1,
        max=MAX_WINDOW,
        tooltip="Maximum number of frames that the modules see at once, for example the length of a context window. "
        "Raised to frames if lower.",
    )


def _size(name: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=512,
        min=64,
        max=16384,
        step=8,
        tooltip=f"{name.capitalize()} of the videos in pixels. Sites where this architecture would cost too much at "
        "this size get no module.",
    )
