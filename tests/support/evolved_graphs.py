"""Workflows with nodes of AnimateDiff-Evolved, in the shape of those that are most often shared.

Values of widgets stand in the order in which the frontend stores them, so that reading them is tested too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from conversion.api_format import write_prompt
from conversion.rules import Rules
from conversion.ui_format import read_graph
from host.server import Prompt

Workflow = dict[str, Any]
NEGATIVE = "worst quality, low quality"
CHECKPOINT, MOTION = "checkpoint.safetensors", "motion.ckpt"
FRAMES = 32


WIDGETS_OF_HOST = {
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "CLIPTextEncode": ("text",),
    "LoadImage": ("image",),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "RepeatLatentBatch": ("amount",),
}


def as_prompt(workflow: Workflow, rules: Rules) -> Prompt:
    """Return a workflow in API format, without the nodes that are muted."""
    graph = read_graph(workflow, rules, 1)
    for node in graph.nodes.values():
        names = WIDGETS_OF_HOST.get(node.kind, ())
        node.inputs |= {name: value for name, value in zip(names, node.stored, strict=False) if name}
    blank = {
        name: {"class_type": node.kind, "_meta": {"title": node.title}}
        for name, node in graph.nodes.items()
        if node.mode == 0
    }
    return {name: entry for name, entry in write_prompt(blank, graph, rules).items() if name in blank}


@dataclass(frozen=True)
class Output:
    """An output of a node in a workflow that is being built."""

    node: int
    slot: int
    type: str


@dataclass
class GraphBuilder:
    """A workflow in UI format, a node at a time."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    links: list[list[Any]] = field(default_factory=list)

    def add(self, kind: str, outputs: str = "", widgets: Sequence[Any] = (), **inputs: Output) -> tuple[Output, ...]:
        """Add a node and return its outputs, whose types `outputs` names, separated by spaces."""
        number, types = len(self.nodes) + 1, outputs.split()
        slots = [self._link(origin, number, slot, name) for slot, (name, origin) in enumerate(inputs.items())]
        self.nodes.append(
            {
                "id": number,
                "type": kind,
                "pos": [400 * (number % 5), 300 * (number // 5)],
                "size": [300, 200],
                "flags": {},
                "order": number,
                "mode": 0,
                "inputs": slots,
                "outputs": [{"name": type, "type": type, "links": None} for type in types],
                "properties": {"Node name for S&R": kind},
                "widgets_values": list(widgets),
            }
        )
        return tuple(Output(number, slot, type) for slot, type in enumerate(types))

    def one(self, kind: str, output: str, widgets: Sequence[Any] = (), **inputs: Output) -> Output:
        """Add a node with one output, and return it."""
        return self.add(kind, output, widgets, **inputs)[0]

    def convert_widget(self, name: str, origin: Output, node: int = -1) -> None:
        """Connect a widget of a node, the newest by default."""
        slots = self.nodes[node]["inputs"]
        entry = self._link(origin, self.nodes[node]["id"], len(slots), name)
        slots.append(entry | {"widget": {"name": name}})

    def workflow(self) -> Workflow:
        for link in self.links:
            output = self.nodes[link[1] - 1]["outputs"][link[2]]
            output["links"] = [*(output["links"] or []), link[0]]
        counts = {"last_node_id": len(self.nodes), "last_link_id": len(self.links)}
        return counts | {"nodes": self.nodes, "links": self.links, "groups": [], "extra": {}, "version": 0.4}

    def _link(self, origin: Output, number: int, slot: int, name: str) -> dict[str, Any]:
        self.links.append([len(self.links) + 1, origin.node, origin.slot, number, slot, origin.type])
        return {"name": name, "type": origin.type, "link": len(self.links)}


@dataclass(frozen=True)
class Start:
    """The part that all workflows begin with."""

    graph: GraphBuilder
    model: Output
    clip: Output
    vae: Output


def start() -> Start:
    graph = GraphBuilder()
    return Start(graph, *graph.add("CheckpointLoaderSimple", "MODEL CLIP VAE", [CHECKPOINT]))


def prompts(at: Start, text: str = "a fox runs") -> tuple[Output, Output]:
    positive, negative = (
        at.graph.one("CLIPTextEncode", "CONDITIONING", [words], clip=at.clip) for words in (text, NEGATIVE)
    )
    return positive, negative


def sample(at: Start, model: Output, conds: tuple[Output, Output], latent: Output, denoise: float = 1.0) -> Output:
    values = [7, "fixed", 2, 7.5, "euler", "normal", denoise]
    inputs = {"model": model, "positive": conds[0], "negative": conds[1], "latent_image": latent}
    return at.graph.one("KSampler", "LATENT", values, **inputs)


def save(at: Start, latent: Output) -> Workflow:
    images = at.graph.one("VAEDecode", "IMAGE", samples=latent, vae=at.vae)
    video = at.graph.one("CreateVideo", "VIDEO", [8, 8], images=images)
    at.graph.add("SaveVideo", "", ["video/clip", "auto", "auto"], video=video)
    return at.graph.workflow()


def empty(at: Start, frames: int = FRAMES) -> Output:
    return at.graph.one("ADE_EmptyLatentImageLarge", "LATENT", [64, 64, frames])


def motion(at: Start, file: str = MOTION, **inputs: Output) -> Output:
    """Load and apply a motion model, without the node that takes the MODEL."""
    loaded = at.graph.one("ADE_LoadAnimateDiffModel", "MOTION_MODEL_ADE", [file])
    return at.graph.one("ADE_ApplyAnimateDiffModelSimple", "M_MODELS", motion_model=loaded, **inputs)


def evolved(at: Start, model: Output, beta: str = "autoselect", **inputs: Output) -> Output:
    return at.graph.one("ADE_UseEvolvedSampling", "MODEL", [beta], model=model, **inputs)


def static_windows(at: Start, **inputs: Output) -> Output:
    values = [16, 4, "pyramid", False, 0, 1]
    return at.graph.one("ADE_StandardStaticContextOptions", "CONTEXT_OPTIONS", values, **inputs)


def text_to_video() -> Workflow:
    """The Gen1 loader with uniform windows, as in the first tutorials."""
    at = start()
    values = [16, 1, 4, "uniform", False]
    windows = at.graph.one("ADE_AnimateDiffUniformContextOptions", "CONTEXT_OPTIONS", values)
    loader = [MOTION, "sqrt_linear (AnimateDiff)", 1.1, True]
    inputs = {"model": at.model, "context_options": windows}
    model = at.graph.one("ADE_AnimateDiffLoaderWithContext", "MODEL", loader, **inputs)
    return save(at, sample(at, model, prompts(at), empty(at)))


def lcm() -> Workflow:
    at = start()
    model = at.graph.one("LoraLoaderModelOnly", "MODEL", ["lcm.safetensors", 1.0], model=at.model)
    model = evolved(at, model, "lcm >> sqrt_linear", m_models=motion(at), context_options=static_windows(at))
    return save(at, sample(at, model, prompts(at), empty(at)))


def lightning() -> Workflow:
    at = start()
    values = ["animatediff_lightning_4step.safetensors", "sqrt_linear (AnimateDiff)"]
    model = at.graph.one("ADE_AnimateDiffLoaderGen1", "MODEL", values, model=at.model)
    return save(at, sample(at, model, prompts(at), empty(at, 16)))


def sdxl() -> Workflow:
    at = start()
    values = ["mm_sdxl_v10_beta.ckpt", "linear (AnimateDiff-SDXL)"]
    model = at.graph.one("ADE_AnimateDiffLoaderGen1", "MODEL", values, model=at.model)
    return save(at, sample(at, model, prompts(at), empty(at, 16)))


def looped() -> Workflow:
    at = start()
    values = [16, 1, 4, True, "flat", False, 0, 1]
    windows = at.graph.one("ADE_LoopedUniformContextOptions", "CONTEXT_OPTIONS", values)
    settings = at.graph.one("ADE_AnimateDiffSamplingSettings", "SAMPLE_SETTINGS", [0, "FreeNoise", "comfy", 3, False])
    inputs = {"m_models": motion(at), "context_options": windows, "sample_settings": settings}
    return save(at, sample(at, evolved(at, at.model, **inputs), prompts(at), empty(at)))


def prompt_travel() -> Workflow:
    at = start()
    text = '"0": "a fox in spring",\n"16": "a fox in winter",'
    conds = at.graph.add("BatchPromptSchedule", "CONDITIONING CONDITIONING", [text, FRAMES, False, 0, 0], clip=at.clip)
    model = evolved(at, at.model, m_models=motion(at), context_options=static_windows(at))
    return save(at, sample(at, model, (conds[0], prompts(at)[1]), empty(at)))


def controlnet_video() -> Workflow:
    """Video to video with a ControlNet of Advanced-ControlNet."""
    at = start()
    image = at.graph.add("VHS_LoadVideo", "IMAGE INT AUDIO VHS_VIDEOINFO")[0]
    latent = at.graph.one("VAEEncode", "LATENT", pixels=image, vae=at.vae)
    loaded = at.graph.one("ControlNetLoaderAdvanced", "CONTROL_NET", ["canny.safetensors"])
    positive, negative = prompts(at)
    inputs = {"positive": positive, "negative": negative, "control_net": loaded, "image": image}
    kinds = "CONDITIONING CONDITIONING MODEL"
    conds = at.graph.add("ACN_AdvancedControlNetApply", kinds, [0.8, 0, 0.9], **inputs)
    model = evolved(at, at.model, m_models=motion(at), context_options=static_windows(at))
    return save(at, sample(at, model, conds[:2], latent, 0.7))


def ip_adapter() -> Workflow:
    at = start()
    image = at.graph.add("LoadImage", "IMAGE MASK", ["fox.png", "image"])[0]
    model = at.graph.one("IPAdapter", "MODEL", [0.7], model=at.model, image=image)
    model = evolved(at, model, m_models=motion(at), context_options=static_windows(at))
    return save(at, sample(at, model, prompts(at), empty(at)))


def motion_lora() -> Workflow:
    at = start()
    first = at.graph.one("ADE_AnimateDiffLoRALoader", "MOTION_LORA", ["zoom.ckpt", 0.8])
    second = at.graph.one("ADE_AnimateDiffLoRALoader", "MOTION_LORA", ["pan.ckpt", 0.5], prev_motion_lora=first)
    scale = at.graph.one("ADE_MultivalDynamic", "MULTIVAL", [1.2])
    models = motion(at, motion_lora=second, scale_multival=scale)
    return save(at, sample(at, evolved(at, at.model, m_models=models), prompts(at), empty(at, 16)))


def sparse_control() -> Workflow:
    at = start()
    image = at.graph.add("LoadImage", "IMAGE MASK", ["fox.png", "image"])[0]
    latent = empty(at, 16)
    method = at.graph.one("ACN_SparseCtrlIndexMethodNode", "SPARSE_METHOD", ["0, -1"])
    values = ["v3_sd15_sparsectrl_rgb.ckpt", True, 1.0, 1.0]
    loaded = at.graph.one("ACN_SparseCtrlLoaderAdvanced", "CONTROL_NET", values, sparse_method=method)
    inputs = {"image": image, "vae": at.vae, "latent_size": latent}
    picture = at.graph.one("ACN_SparseCtrlRGBPreprocessor", "IMAGE", **inputs)
    positive, negative = prompts(at)
    inputs = {"positive": positive, "negative": negative, "control_net": loaded, "image": picture}
    kinds = "CONDITIONING CONDITIONING"
    conds = at.graph.add("ACN_AdvancedControlNetApply_v2", kinds, [0.9, 0, 1], **inputs)
    return save(at, sample(at, evolved(at, at.model, m_models=motion(at)), conds[:2], latent))


def image_to_video() -> Workflow:
    """A picture repeated as a batch, with motion that calms down and places that move less."""
    at = start()
    image, mask = at.graph.add("LoadImage", "IMAGE MASK", ["fox.png", "image"])
    encoded = at.graph.one("VAEEncode", "LATENT", pixels=image, vae=at.vae)
    latent = at.graph.one("RepeatLatentBatch", "LATENT", [16], samples=encoded)
    effect = at.graph.one("ADE_MultivalScaledMask", "MULTIVAL", [0.0, 1.3, "absolute"], mask=mask)
    calm = at.graph.one("ADE_MultivalDynamic", "MULTIVAL", [0.5])
    keyframe = at.graph.one("ADE_AnimateDiffKeyframe", "AD_KEYFRAMES", [0.4, True, 1], effect_multival=calm)
    models = motion(at, effect_multival=effect, ad_keyframes=keyframe)
    return save(at, sample(at, evolved(at, at.model, m_models=models), prompts(at), latent, 0.8))


def upscale() -> Workflow:
    """Two samplers that share a motion model and windows, the second one for a larger latent."""
    at = start()
    models, windows, conds = motion(at), static_windows(at), prompts(at)
    model = evolved(at, at.model, m_models=models, context_options=windows)
    first = sample(at, model, conds, empty(at))
    larger = at.graph.one("LatentUpscaleBy", "LATENT", ["bilinear", 1.5], samples=first)
    again = evolved(at, at.model, m_models=models, context_options=windows)
    return save(at, sample(at, again, conds, larger, 0.5))


COMMON: dict[str, Callable[[], Workflow]] = {
    graph.__name__: graph
    for graph in (
        text_to_video,
        lcm,
        lightning,
        sdxl,
        looped,
        prompt_travel,
        controlnet_video,
        ip_adapter,
        motion_lora,
        sparse_control,
        image_to_video,
        upscale,
    )
}
