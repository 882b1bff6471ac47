"""Draw the moving picture of the READMEs and the pictures of help pages: Loom Mini in a real server, and the code.

For the Python that test.py sets up. Clips are sampled once and kept in `artefacts/pictures`; delete
that folder after a change that affects sampling.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from host import loom_mini
from host.checkout import HOSTS, ROOT
from host.in_process import use_host
from host.releases import NEWEST
from host.server import Server

KEPT = ROOT / "artefacts" / "pictures"
HELP = ROOT / "web" / "docs"
NAMES = {
    "readme": ROOT / "docs" / "loom_mini.webp",
    "mini": HELP / "LoomMiniLoader" / "clips.webp",
    "strength": HELP / "LoomApplyMotionModel" / "strength.webp",
    "schedules": HELP / "LoomContextWindows" / "schedules.webp",
    "reading": HELP / "LoomContextPreview" / "reading.png",
    "noise": HELP / "LoomVideoNoise" / "free_noise.webp",
    "camera": HELP / "LoomVideoNoise" / "camera.webp",
    "path": HELP / "LoomCameraPath" / "path.png",
    "free_init": HELP / "LoomFreeInit" / "free_init.webp",
    "travel": HELP / "LoomPromptSchedule" / "travel.webp",
    "sites": HELP / "LoomMotionModelInfo" / "sites.png",
    "change": HELP / "LoomSamplingReport" / "change.png",
    "report": HELP / "LoomShowReport" / "report.png",
    "attention": HELP / "LoomShowReport" / "attention.png",
    "metrics": HELP / "LoomVideoMetrics" / "plots.png",
    "loading": HELP / "LoomLoadMotionModel" / "loading.png",
    "loras": HELP / "LoomMotionLora" / "loras.png",
    "selection": HELP / "LoomNewMotionModel" / "sites.png",
    "saving": HELP / "LoomSaveMotionModel" / "saving.png",
}


def list_pictures(studio) -> dict[str, Callable[[Path], None]]:
    """Return a function for each of `NAMES` that draws the picture into a file."""
    from pictures import (
        clip_pictures,
        graph_pictures,
        noise_pictures,
        report_pictures,
        site_pictures,
        window_pictures,
    )

    return {
        "readme": lambda file: clip_pictures.draw_readme(studio, file),
        "mini": lambda file: clip_pictures.draw_mini(studio, file),
        "strength": lambda file: clip_pictures.draw_strength(studio, file),
        "schedules": window_pictures.draw_schedules,
        "reading": window_pictures.draw_reading,
        "noise": lambda file: clip_pictures.draw_noise(studio, file),
        "camera": noise_pictures.draw_camera,
        "path": noise_pictures.draw_path,
        "free_init": lambda file: clip_pictures.draw_free_init(studio, file),
        "travel": lambda file: clip_pictures.draw_travel(studio, file),
        "sites": site_pictures.draw_sites,
        "change": lambda file: site_pictures.draw_change(studio, file),
        "report": lambda file: report_pictures.draw_report(studio, file),
        "attention": lambda file: report_pictures.draw_attention(studio, file),
        "metrics": lambda file: report_pictures.draw_metrics(studio, file),
        "loading": graph_pictures.draw_loading,
        "loras": graph_pictures.draw_loras,
        "selection": site_pictures.draw_selection,
        "saving": graph_pictures.draw_saving,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NAMES), help=f"pictures to draw: {', '.join(NAMES)}")
    parser.add_argument("--host", type=Path, default=HOSTS / NEWEST, help="folder of a ComfyUI")
    options = parser.parse_args()
    use_host(options.host, "cpu")
    from pictures.clips import Studio

    server = Server(Path(sys.executable), options.host, KEPT / "server")
    loom_mini.install(server.folder)
    with server:
        draw = list_pictures(Studio(server, KEPT / "clips"))
        for name in options.names:
            draw[name](NAMES[name])
            print(f"{NAMES[name]} ({NAMES[name].stat().st_size / 1e3:.0f} kB)", flush=True)


if __name__ == "__main__":
    main()
