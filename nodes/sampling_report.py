"""Record and show what motion modules do during sampling."""

from comfy_api.latest import io, ui

from ..inspection.report.picture import draw, draw_attention
from ..inspection.report.sampling_report import ReportSettings, add_sampling_report
from ..inspection.report.text import describe, to_json
from .inputs import CATEGORY, ReportSocket


class AddSamplingReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomSamplingReport",
            display_name="Sampling Report",
            category=CATEGORY,
            description="Records what the motion modules of a model do during sampling: inputs and outputs, the first "
            "NaN, attention between frames, time and memory. Show Sampling Report shows the result.",
            search_aliases=["debug", "inspect sampling", "NaN", "black video", "attention maps", "profile"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Model to record. This node can be placed before or after Apply Motion Model.",
                ),
                io.Boolean.Input(
                    "stop_at_nan",
                    default=False,
                    optional=True,
                    tooltip="Stops sampling at the first NaN or Inf. The error names the motion module, step and "
                    "frame.",
                ),
                io.Boolean.Input(
                    "attention_maps",
                    default=False,
                    optional=True,
                    tooltip="Records which frames attend to which, for every head. Computes the attention between "
                    "frames a second time.",
                ),
                io.String.Input(
                    "attention_sites",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Sites whose attention is recorded, separated by commas, for example down.1, up.*, mid. "
                    "Leave empty to record all.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model"), ReportSocket.Output(display_name="report")],
        )

    @classmethod
    def execute(
        cls, model, stop_at_nan: bool = False, attention_maps: bool = False, attention_sites: str = ""
    ) -> io.NodeOutput:
        settings = ReportSettings(stop_at_nan, attention_maps, attention_sites)
        return io.NodeOutput(*add_sampling_report(model, settings))


class ShowSamplingReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomShowReport",
            display_name="Show Sampling Report",
            category=CATEGORY,
            description="Shows the recording of Sampling Report after sampling, as text, plots and JSON.",
            search_aliases=["sampling statistics", "attention heat map", "debug plots"],
            is_output_node=True,
            inputs=[
                ReportSocket.Input("report", tooltip="Recording to show, from Sampling Report."),
                io.AnyType.Input(
                    "after",
                    tooltip="Connect the sampler's latent. The report then shows the run that produced it.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="text"),
                io.Image.Output(display_name="plots"),
                io.Image.Output(display_name="attention"),
                io.String.Output(display_name="json"),
            ],
        )

    @classmethod
    def execute(cls, report, after) -> io.NodeOutput:
        run = report.find_run(after)
        text, plots = describe(run), draw(run)
        shown = {**ui.PreviewImage(plots, cls=cls).as_dict(), **ui.PreviewText(text).as_dict()}
        return io.NodeOutput(text, plots, draw_attention(run), to_json(run), ui=shown)
