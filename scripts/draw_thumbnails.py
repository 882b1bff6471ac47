"""Draw the thumbnail of every template: a clip that it makes with Loom Mini, and its graph small in a corner.

Run it with the checkout's environment after a template was changed; it takes about five minutes.
Names of templates, without the number, draw only those.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from export_api_workflows import WORKFLOWS, twin_of
from film_strip import read_frames
from host import loom_mini
from host.checkout import ROOT
from host.frontend import DRAWN, FIT_VIEW, load_workflow, temporary_frontend
from host.prompts import load_prompt, nodes_with, set_everywhere
from host.script import run_as_script
from host.server import Prompt, Server
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize
from safetensors.torch import save_file
from synthetic_motion import random_tensor
from thumbnails.on_loom_mini import switch
from thumbnails.page import HEIGHT, WIDTH, build_page, lay_out, lay_out_comparison

QUALITY = 80  # of JPEG, in percent
FIRST = "first_clip_no_download"  # its clip is what other templates change
REMARKS = {
    "controlnet_video": "without the ControlNet, which it has none of \u00b7 \u672a\u4f7f\u7528 ControlNet",
    "motion_lora": "the prompt names no motion, the LoRA is 'up' \u00b7 \u7531 LoRA \u4f7f\u5176\u4e0a\u79fb",
    "lora_per_frame": "with a LoRA of random weights \u00b7 LoRA \u4e3a\u968f\u673a\u6743\u91cd",
    "video_to_video": "from a clip of a red circle \u00b7 \u7531\u7ea2\u8272\u5706\u5f62\u7684\u89c6\u9891\u751f\u6210",
    "free_init": "without (top) and with FreeInit, strength 0.5 \u00b7 \u4e0b\u65b9\u4f7f\u7528 FreeInit",
    "motion_strength": "without (top) and with the curve \u00b7 \u4e0b\u65b9\u4f7f\u7528\u5e27\u66f2\u7ebf",
    "sparse_sketch": "without SparseCtrl, which it has none of \u00b7 \u672a\u4f7f\u7528 SparseCtrl",
    "camera_path": "without (top) and with the path \u00b7 \u4e0b\u65b9\u4f7f\u7528\u955c\u5934\u8def\u5f84",
    "upscale_video": "without and with twice the size (below) \u00b7 \u4e0b\u65b9\u653e\u5927\u5230\u4e24\u500d",
    "picture_to_video": "from one picture \u00b7 \u7531\u4e00\u5f20\u56fe\u7247\u751f\u6210",
}
WITHOUT = {  # inputs that switch off what a template shows, for a comparison
    "free_init": {"iterations": 1},
    "motion_strength": {"frame_curve": ""},
    "camera_path": {"path.keyframes": "0: pan 0"},
    "upscale_video": {"scale_by": 1},
}
DETAILED = {"upscale_video"}  # compared in few large frames
GRAPH_ALONE = """() => {
  app.canvas.low_quality_zoom_threshold = 0;
  app.canvas.render_canvas_border = false;
  const bounds = app.graph.nodes.filter(node => node.type !== 'MarkdownNote').map(node => node.boundingRect);
  const left = Math.min(...bounds.map(box => box[0])) - 30, top = Math.min(...bounds.map(box => box[1])) - 70;
  const right = Math.max(...bounds.map(box => box[0] + box[2])) + 30;
  const bottom = Math.max(...bounds.map(box => box[1] + box[3])) + 30;
  const { ds } = app.canvas;
  const frame = app.canvas.canvas.getBoundingClientRect();
  const place = (value, axis) => (value + ds.offset[axis]) * ds.scale + [frame.left, frame.top][axis];
  return { x: place(left, 0), y: place(top, 1), width: (right - left) * ds.scale, height: (bottom - top) * ds.scale };
}"""
LORA_LAYERS = [f"output_blocks_{number}_1_transformer_blocks_0_attn2_to_out_0" for number in (9, 10, 11)]
LORA_SHAPES = {"lora_up.weight": (64, 4), "lora_down.weight": (4, 64)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="templates to draw (default: all)")
    chosen = parser.parse_args().names
    with temporary_frontend() as (server, browser, frontend):
        inputs = _make_inputs(server)
        _list_models(server, frontend)
        for workflow in WORKFLOWS:
            name = workflow.stem.split("_", 2)[2]
            if not chosen or name in chosen:
                picture = _draw_result(server, workflow, name, inputs)
                html = build_page(picture, _photograph_graph(frontend, workflow), REMARKS.get(name, ""))
                _save(browser, html, workflow.with_suffix(".jpg"))
    return 0


def _make_inputs(server: Server) -> dict[str, str]:
    """Make a video, a picture and LoRAs that templates ask for; return their names by the inputs that name them."""
    workflow = next(file for file in WORKFLOWS if file.stem.endswith(FIRST))
    video = _run(server, load_prompt(twin_of(workflow)))
    (server.folder / "input" / video.name).write_bytes(video.read_bytes())
    read_frames(video)[4].save(server.folder / "input" / "frame.png")
    lora = server.folder / "models" / "loras" / "random.safetensors"
    lora.parent.mkdir(exist_ok=True)
    names = {f"lora_unet_{layer}.{part}": shape for layer in LORA_LAYERS for part, shape in LORA_SHAPES.items()}
    save_file({name: random_tensor(name, shape, 0, torch.float32) for name, shape in names.items()}, lora)
    return {"file": video.name, "image": "frame.png", "lora_name": lora.name, "motion_lora": loom_mini.UP_LORA.name}


def _list_models(server: Server, page: Page) -> None:
    """Let the host list the models of the templates, so that the frontend marks none as missing; none is loaded."""
    workflows = [json.loads(file.read_text(encoding="utf-8")) for file in WORKFLOWS]
    models = [model for each in workflows for node in each["nodes"] for model in node["properties"].get("models", [])]
    files = [Path("models", model["directory"], model["name"]) for model in models]
    placeholders = [
        Path("input/my_video.mp4"),
        Path("input/example.png"),
        Path("models/loras/my_style_lora.safetensors"),
    ]
    for file in [*files, *placeholders]:
        (server.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (server.folder / file).touch()
    page.evaluate("() => app.refreshComboInNodes()")


def _draw_result(server: Server, workflow: Path, name: str, inputs: dict[str, str]) -> Image.Image:
    frames = _sample(server, workflow, name, inputs)
    if name not in WITHOUT:
        return lay_out(frames)
    layout = {"columns": 4, "shown": 4} if name in DETAILED else {}
    return lay_out_comparison(_sample(server, workflow, name, inputs | WITHOUT[name]), frames, **layout)


def _sample(server: Server, workflow: Path, name: str, inputs: Mapping[str, str | int]) -> list[Image.Image]:
    prompt = switch(load_prompt(twin_of(workflow)), name)
    for key, value in inputs.items():
        if any(nodes_with(prompt, key)):
            set_everywhere(prompt, key, value)
    return read_frames(_run(server, prompt))


def _run(server: Server, prompt: Prompt) -> Path:
    entry = server.run(prompt)
    return next(file for file in server.files(entry) if file.suffix == ".mp4")


def _photograph_graph(page: Page, workflow: Path) -> bytes:
    load_workflow(page, json.loads(workflow.read_text(encoding="utf-8")))
    page.evaluate(FIT_VIEW)
    page.wait_for_function(DRAWN)
    return page.screenshot(clip=page.evaluate(GRAPH_ALONE))


def _save(browser: Browser, html: str, file: Path) -> None:
    page = browser.new_page(viewport=ViewportSize(width=WIDTH, height=HEIGHT))
    page.set_content(html)
    page.screenshot(path=file, type="jpeg", quality=QUALITY)
    page.close()
    print(f"Written: {file.relative_to(ROOT)} ({file.stat().st_size / 1e3:.0f} KB)", flush=True)


if __name__ == "__main__":
    run_as_script(main)
