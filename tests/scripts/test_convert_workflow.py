"""Workflows with nodes of AnimateDiff-Evolved are converted into workflows that ComfyUI with this pack accepts."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import convert_workflow as script
import execution
import pytest
from animatediff_loom.nodes import NODES
from conversion.api_format import convert_prompt, read_prompt
from conversion.placing import _overlap
from conversion.rules import is_of_other_pack, load_rules
from conversion.ui_format import convert_workflow

import nodes
from tests.support.evolved_graphs import (
    COMMON,
    MOTION,
    Output,
    Start,
    Workflow,
    as_prompt,
    empty,
    evolved,
    motion,
    prompts,
    sample,
    save,
    start,
    static_windows,
)

RULES = load_rules()
FILES = {"ckpt_name", "motion_model", "motion_lora", "control_net_name", "image", "lora_name", "sparse_control"}
OF_HOST = ("nodes_video", "nodes_pag", "nodes_model_advanced")
SAID = {"lcm": ["beta_close"], "looped": ["equal_length", "seed_offset"]}
Prompt = dict[str, Any]


class Stranger:
    """A node of a pack that no rule knows."""

    FUNCTION, CATEGORY = "run", "other pack"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}


class OfIPAdapter(Stranger):
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "image": ("IMAGE",)}}


class OfVideoHelperSuite(Stranger):
    RETURN_TYPES = ("IMAGE",)


@pytest.fixture(scope="module")
def definitions() -> dict[str, type]:
    """The nodes of the host, of the pack, and of two packs that stay in a converted workflow."""
    strangers = {"IPAdapter": OfIPAdapter, "VHS_LoadVideo": OfVideoHelperSuite}
    ours = {node.GET_SCHEMA().node_id: node for node in [*NODES, *_extras_of_host()]}
    return nodes.NODE_CLASS_MAPPINGS | ours | strangers


def _extras_of_host() -> Iterable[Any]:
    for name in OF_HOST:
        module = import_module(f"comfy_extras.{name}")
        nodes.NODE_CLASS_MAPPINGS.update(getattr(module, "NODE_CLASS_MAPPINGS", {}))
        if hasattr(module, "comfy_entrypoint"):
            yield from _run(_list_nodes(module))


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread of its own: a test of the browser keeps a loop in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()


async def _list_nodes(module: Any) -> list[Any]:
    return await (await module.comfy_entrypoint()).get_node_list()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, definitions: dict[str, type]) -> Callable[[Prompt], list[str]]:
    """Validates a prompt and returns what the host says against it, except about files that are not there."""
    for name, node in definitions.items():
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, node)

    def validate(prompt: Prompt) -> list[str]:
        _, error, _, errors = _run(execution.validate_prompt("test", prompt, None))
        details = [detail for node in errors.values() for detail in node["errors"]]
        wrong = [detail for detail in details if detail["extra_info"].get("input_name") not in FILES]
        return [str(error)] if error and not errors else [str(detail) for detail in wrong]

    return validate


def kinds(workflow: Workflow) -> list[str]:
    return [node["type"] for node in workflow["nodes"] if node["mode"] == 0]


def find(prompt: Prompt, kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in prompt.values() if node["class_type"] == kind]


def converted(at: Start, model: Output) -> tuple[Prompt, list[str]]:
    """A workflow whose sampler takes `model`, as a converted prompt, and the messages about it."""
    workflow, notes = convert_workflow(save(at, sample(at, model, prompts(at), empty(at))), RULES)
    return as_prompt(workflow, RULES), [note.message for note in notes]


@pytest.mark.parametrize("name", COMMON)
def test_a_common_workflow_becomes_one_that_the_host_accepts(name: str, refused: Callable[[Prompt], list[str]]):
    workflow, notes = convert_workflow(COMMON[name](), RULES)
    assert refused(as_prompt(workflow, RULES)) == []
    assert [note.message for note in notes] == SAID.get(name, [])
    assert not [kind for kind in kinds(workflow) if is_of_other_pack(RULES, kind)]


@pytest.mark.parametrize("name", COMMON)
def test_both_formats_are_converted_in_the_same_way(name: str):
    workflow = COMMON[name]()
    from_api, notes = convert_prompt(as_prompt(workflow, RULES), RULES)
    from_ui, same_notes = convert_workflow(workflow, RULES)
    assert _without_titles(from_api) == _without_titles(as_prompt(from_ui, RULES)) and notes == same_notes


def _without_titles(prompt: Prompt) -> dict[str, tuple[str, dict[str, Any]]]:
    return {name: (node["class_type"], node["inputs"]) for name, node in prompt.items()}


@pytest.mark.parametrize("name", COMMON)
def test_links_and_places_of_a_converted_workflow_are_sound(name: str):
    workflow, _ = convert_workflow(COMMON[name](), RULES)
    by_id = {node["id"]: node for node in workflow["nodes"]}
    assert len({link[0] for link in workflow["links"]}) == len(workflow["links"])
    assert max(by_id) <= workflow["last_node_id"] and max(x[0] for x in workflow["links"]) <= workflow["last_link_id"]
    for number, origin, output, target, slot, _ in workflow["links"]:
        assert number in by_id[origin]["outputs"][output]["links"] and by_id[target]["inputs"][slot]["link"] == number
    new = [node for node in workflow["nodes"] if node["type"].startswith("Loom")]
    assert not any(_overlap(node, other) for node in new for other in workflow["nodes"] if other is not node)


def test_a_converted_workflow_stays_as_it_is_when_it_is_converted_again():
    once, _ = convert_workflow(COMMON["looped"](), RULES)
    assert convert_workflow(once, RULES) == (once, [])


def test_the_table_has_the_widgets_and_sockets_of_the_real_nodes(definitions: dict[str, type]):
    for kind, schema in RULES["targets"].items():
        names = _input_names(definitions[kind].INPUT_TYPES())
        order = [name for name in names if name in {entry[0] for entry in schema["widgets"]}]
        assert order == [entry[0] for entry in schema["widgets"]], kind
        assert {entry[0] for entry in schema["inputs"]} <= set(names), kind
        assert [entry[1] for entry in schema["outputs"]] == list(definitions[kind].RETURN_TYPES), kind


def _input_names(types: dict[str, dict[str, Any]]) -> list[str]:
    return [name for group in ("required", "optional") for name in types.get(group, {})]


def test_every_message_is_in_both_languages_and_is_used():
    text = json.dumps({key: value for key, value in RULES.items() if key != "messages"})
    sources = "".join(file.read_text() for file in Path(script.__file__).parent.glob("conversion/*.py"))
    for name, message in RULES["messages"].items():
        assert message["en"] and message["zh"] and f'"{name}"' in text + sources, name


def test_two_motion_models_run_in_the_same_order_and_the_first_one_sets_the_schedule():
    at = start()
    first = at.graph.one("ADE_LoadAnimateDiffModel", "MOTION_MODEL_ADE", ["early.ckpt"])
    values, models = [0.0, 0.5], motion(at, "late.ckpt")
    models = at.graph.one("ADE_ApplyAnimateDiffModel", "M_MODELS", values, motion_model=first, prev_m_models=models)
    prompt, _ = converted(at, evolved(at, at.model, m_models=models))
    (sampler,) = find(prompt, "KSampler")
    late = prompt[sampler["model"][0]]["inputs"]
    early = prompt[late["model"][0]]["inputs"]
    assert [prompt[node["motion_model"][0]]["inputs"]["motion_model"] for node in (early, late)] == [
        "early.ckpt",
        "late.ckpt",
    ]
    assert (early["end_percent"], early["beta_schedule"]) == (0.5, "auto")
    assert (late["end_percent"], late["beta_schedule"]) == (1.0, "as the model")


def test_windows_in_a_row_and_views_keep_their_parts_of_sampling():
    at = start()
    views = at.graph.one("ADE_StandardStaticViewOptions", "VIEW_OPTS", [12, 6, "flat"])
    first = at.graph.one("ADE_ViewsOnlyContextOptions", "CONTEXT_OPTIONS", [0.0, 1], view_opts_req=views)
    values = [8, 2, "overlap-linear", False, 0.4, 2]
    second = at.graph.one("ADE_StandardStaticContextOptions", "CONTEXT_OPTIONS", values, prev_context=first)
    prompt, notes = converted(at, evolved(at, at.model, m_models=motion(at), context_options=second))
    view, static = find(prompt, "LoomContextWindows")
    assert (view["schedule"], view["context_length"], view["context_overlap"], view["fuse"]) == ("view", 12, 6, "flat")
    assert (static["schedule"], static["start_percent"], static["fuse"]) == ("static", 0.4, "overlap-linear")
    assert prompt[static["model"][0]]["inputs"] == view and notes == ["guarantee_steps"]


def test_pictures_of_sparse_control_keep_their_frames():
    (pictures,) = find(
        as_prompt(convert_workflow(COMMON["sparse_control"](), RULES)[0], RULES), "LoomApplySparseControl"
    )
    assert (pictures["placement"], pictures["placement.frame_numbers"]) == ("frame numbers", "0, -1")
    assert (pictures["strength"], pictures["empty_windows"]) == (0.9, "nearest picture")
    assert pictures["images"] == ["2", 0] and pictures["vae"] == ["1", 2]


def test_keyframes_and_blocks_become_the_texts_of_motion_strength():
    at = start()

    def number(value: float) -> Output:
        return at.graph.one("ADE_MultivalDynamic", "MULTIVAL", [value])

    def keyframe(place: float, **inputs: Output) -> Output:
        return at.graph.one("ADE_AnimateDiffKeyframe", "AD_KEYFRAMES", [place, True, 1], **inputs)

    chain = keyframe(0.2, effect_multival=number(0.8))
    chain = keyframe(0.5, scale_multival=number(1.1), prev_ad_keyframes=chain)
    chain = keyframe(0.75, effect_multival=number(0.0), prev_ad_keyframes=chain)
    block = at.graph.one("ADE_ADBlockCombo", "AD_BLOCK", effect=number(0.5))
    blocks = at.graph.one("ADE_PerBlock_SD15_LowLevel", "PER_BLOCK", down_1__0=block, mid=block)
    prompt, notes = converted(at, evolved(at, at.model, m_models=motion(at, ad_keyframes=chain, per_block=blocks)))
    effect, scale = find(prompt, "LoomMotionStrength")
    assert effect["progress_curve"] == "0: 1 hold, 0.2: 0.8 hold, 0.5: 0.8 hold, 0.75: 0 hold"
    assert effect["sites"] == "down.1.0: 0.5, mid: 0.5"
    assert (scale["progress_curve"], scale["sites"], notes) == (
        "0: 1 hold, 0.2: 1 hold, 0.5: 1.1 hold, 0.75: 1.1 hold",
        "",
        [],
    )


def test_free_init_and_sample_settings_become_nodes_on_the_model():
    at = start()
    values = [3, "butterworth", 0.2, 0.3, 6, 999, False, "FreeInit [sampler sigma]", 0, 1]
    passes = at.graph.one("ADE_IterationOptsFreeInit", "ITERATION_OPTS", values)
    extras = at.graph.one("ADE_CFGExtrasRescaleCFGSimple", "CFG_EXTRAS", [0.6])
    cfg = at.graph.one("ADE_CustomCFGSimple", "CUSTOM_CFG", [6.5], cfg_extras=extras)
    inputs = {"iteration_opts": passes, "custom_cfg": cfg}
    values = [5, "default", "auto1111", 0, False]
    settings = at.graph.one("ADE_AnimateDiffSamplingSettings", "SAMPLE_SETTINGS", values, **inputs)
    prompt, notes = converted(at, evolved(at, at.model, m_models=motion(at), sample_settings=settings))
    (noise,), (free,), (rescale,) = (find(prompt, kind) for kind in ("LoomVideoNoise", "LoomFreeInit", "RescaleCFG"))
    assert (noise["noise_type"], noise["noise_type.start_frame"]) == ("seed + frame", 5)
    assert (free["iterations"], free["spatial_cutoff"], free["temporal_cutoff"], free["order"]) == (3, 0.2, 0.3, 6)
    assert (free["variance_preserving"], free["early_stop"], rescale["multiplier"]) == (False, 1, 0.6)
    assert notes == ["custom_cfg"]


def test_a_motion_model_without_a_counterpart_stops_the_conversion_of_its_part_alone():
    at = start()
    loaded = at.graph.one("ADE_LoadAnimateDiffModel", "MOTION_MODEL_ADE", ["pia.ckpt"])
    image = at.graph.add("LoadImage", "IMAGE MASK", ["fox.png", "image"])[0]
    inputs = {"motion_model": loaded, "image": image, "vae": at.vae}
    models = at.graph.one("ADE_ApplyAnimateDiffModelWithPIA", "M_MODELS", [0.0, 1.0], **inputs)
    model = evolved(at, at.model, m_models=models, context_options=static_windows(at))
    before = save(at, sample(at, model, prompts(at), empty(at)))
    workflow, notes = convert_workflow(before, RULES)
    assert [note.text(RULES) for note in notes] == [
        f"ADE_UseEvolvedSampling ({model.node}): this node was left as it is. Image-to-video motion models are not "
        "converted. Use Apply Motion Model, and Image To Video after it."
    ]
    assert kinds(workflow).count("EmptyLatentImage") == 1
    assert [kind for kind in kinds(workflow) if kind.startswith("ADE_")] == [
        kind for kind in kinds(before) if kind.startswith("ADE_") and kind != "ADE_EmptyLatentImageLarge"
    ]


def test_what_has_no_counterpart_is_muted_in_the_editor_and_dropped_for_the_api():
    at = start()
    image = at.graph.add("LoadImage", "IMAGE MASK", ["fox.png", "image"])[0]
    inject = at.graph.one("ADE_NoisedImageInjection", "IMAGE_INJECT", [False, True, 0, 1], image=image, vae=at.vae)
    values = [0, "default", "comfy", 0, False]
    settings = at.graph.one("ADE_AnimateDiffSamplingSettings", "SAMPLE_SETTINGS", values, image_inject=inject)
    model = evolved(at, at.model, m_models=motion(at), sample_settings=settings)
    before = save(at, sample(at, model, prompts(at), empty(at)))
    workflow, notes = convert_workflow(before, RULES)
    (muted,) = (node for node in workflow["nodes"] if node["mode"] == 2)
    assert muted["type"] == "ADE_NoisedImageInjection" and [note.message for note in notes] == ["image_injection"]
    assert not find(convert_prompt(as_prompt(before, RULES), RULES)[0], "ADE_NoisedImageInjection")


def test_reroutes_primitives_named_links_and_bypassed_nodes_are_followed():
    at = start()
    length = at.graph.one("PrimitiveNode", "INT", [24, "fixed"])
    windows = static_windows(at)
    at.graph.convert_widget("context_length", length)
    windows = at.graph.add("SetNode", "*", ["windows"], CONTEXT_OPTIONS=windows) and at.graph.one(
        "GetNode", "CONTEXT_OPTIONS", ["windows"]
    )
    lora = at.graph.one("ADE_AnimateDiffLoRALoader", "MOTION_LORA", ["zoom.ckpt", 0.8])
    lora = at.graph.one("ADE_AnimateDiffLoRALoader", "MOTION_LORA", ["pan.ckpt", 0.5], prev_motion_lora=lora)
    at.graph.nodes[-1]["mode"] = 4
    models = at.graph.one("Reroute", "*", **{"": motion(at, motion_lora=lora)})
    model = evolved(at, at.model, m_models=models, context_options=windows)
    workflow, notes = convert_workflow(save(at, sample(at, model, prompts(at), empty(at))), RULES)
    prompt = as_prompt(workflow, RULES)
    assert [node["motion_lora"] for node in find(prompt, "LoomMotionLora")] == ["zoom.ckpt"] and notes == []
    assert [node["context_length"] for node in find(prompt, "LoomContextWindows")] == [24]
    assert not {"SetNode", "GetNode", "Reroute", "PrimitiveNode"} & set(kinds(workflow))


def test_a_linked_widget_stays_linked():
    at = start()
    length = at.graph.one("PrimitiveInt", "INT", [24])
    windows = static_windows(at)
    at.graph.convert_widget("context_length", length)
    prompt, _ = converted(at, evolved(at, at.model, m_models=motion(at), context_options=windows))
    assert [node["context_length"] for node in find(prompt, "LoomContextWindows")] == [[str(length.node), 0]]


def test_the_model_before_animatediff_goes_where_it_was_unloaded():
    at = start()
    model = evolved(at, at.model, m_models=motion(at))
    plain = at.graph.one("ADE_AnimateDiffUnload", "MODEL", model=model)
    prompt, notes = converted(at, plain)
    assert [node["model"] for node in find(prompt, "KSampler")] == [["1", 0]] and notes == []


def test_the_length_of_a_prompt_schedule_is_found_on_its_latent():
    at = start()
    latent = empty(at, 48)
    kinds_of = "CONDITIONING LATENT"
    conds = at.graph.add(
        "ADE_PromptSchedulingLatents", kinds_of, ['"0": "a"', False, "slerp"], clip=at.clip, latent=latent
    )
    model = evolved(at, at.model, m_models=motion(at))
    workflow, notes = convert_workflow(save(at, sample(at, model, (conds[0], prompts(at)[1]), conds[1])), RULES)
    prompt = as_prompt(workflow, RULES)
    (schedule,) = find(prompt, "LoomPromptSchedule")
    (sampler,) = find(prompt, "KSampler")
    assert (schedule["frames"], schedule["interpolation"], notes) == (48, "spherical", [])
    assert prompt[sampler["latent_image"][0]]["class_type"] == "EmptyLatentImage"


def test_a_subgraph_is_converted_inside():
    """Its links are stored as objects, and two nodes stand for its inputs and outputs."""
    at = start()
    model = evolved(at, at.model, m_models=motion(at))
    built = at.graph.workflow()
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(names, link, strict=True)) for link in built["links"]]
    links.append(dict(zip(names, [90, model.node, 0, -20, 0, "MODEL"], strict=True)))
    outputs = [{"name": "model", "type": "MODEL", "linkIds": [90]}]
    ends = {"inputNode": {"id": -10}, "outputNode": {"id": -20}, "inputs": [], "outputs": outputs}
    inner = {"id": "clip", "name": "clip", "nodes": built["nodes"], "links": links, **ends}
    outer = {"id": 50, "type": "clip", "mode": 0, "outputs": [{"name": "model", "type": "MODEL", "links": None}]}
    workflow = {"nodes": [outer], "links": [], "last_node_id": 50, "definitions": {"subgraphs": [inner]}}
    result, notes = convert_workflow(workflow, RULES)
    (inner,) = result["definitions"]["subgraphs"]
    (apply,) = (node for node in inner["nodes"] if node["type"] == "LoomApplyMotionModel")
    (end,) = (link for link in inner["links"] if link["target_id"] == -20)
    assert end["origin_id"] == apply["id"] > 50 and inner["outputs"][0]["linkIds"] == [end["id"]]
    assert notes == [] and result["last_node_id"] >= apply["id"]


def test_the_script_writes_a_file_and_says_what_was_left_out(tmp_path: Path, monkeypatch, capsys):
    source, result = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(json.dumps(COMMON["looped"]()), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["convert_workflow.py", str(source), str(result)])
    assert script.main() == 0
    assert "LoomContextWindows" in kinds(json.loads(result.read_text(encoding="utf-8")))
    assert "seed_offset: 3 was left out. Add it to the seed of the sampler." in capsys.readouterr().out


def test_another_file_is_refused():
    with pytest.raises(script.SetupError, match="no workflow of ComfyUI"):
        script.convert({"version": 1}, RULES)


def test_a_prompt_without_titles_is_converted():
    prompt = {"7": {"class_type": "ADE_EmptyLatentImageLarge", "inputs": {"width": 64, "height": 64, "batch_size": 8}}}
    assert read_prompt(prompt).nodes["7"].title == ""
    assert find(convert_prompt(prompt, RULES)[0], "EmptyLatentImage") == [{"width": 64, "height": 64, "batch_size": 8}]


def test_the_file_of_an_old_loader_is_kept():
    (loaded,) = find(as_prompt(convert_workflow(COMMON["text_to_video"](), RULES)[0], RULES), "LoomLoadMotionModel")
    assert loaded["motion_model"] == MOTION
