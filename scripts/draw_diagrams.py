"""Draw the pictures of docs/how-it-works.md from the code itself.

For the Python that test.py sets up.
"""

import argparse
import json
from pathlib import Path

from host.checkout import HOSTS, ROOT
from PIL.PngImagePlugin import PngInfo

DOCS = ROOT / "docs"
PICTURES = ("shapes", "unet", "window")  # scripts/diagrams/<name>_picture.py draws docs/<name>.png
DATA = "loom_data"  # the text chunk of each PNG with what it shows, so that a test sees when it is out of date


def draw_all(folder: Path) -> list[Path]:
    """Write every picture into `folder`; the host and the pack must be importable."""
    from diagrams import shapes_picture, unet_picture, window_picture

    files = [folder / f"{name}.png" for name in PICTURES]
    for file, module in zip(files, (shapes_picture, unet_picture, window_picture), strict=True):
        shown = PngInfo()
        shown.add_text(DATA, json.dumps(module.collect_data()))
        module.draw().save(file, optimize=True, pnginfo=shown)
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", type=Path, default=HOSTS / "0.30.0", help="folder of a ComfyUI")
    options = parser.parse_args()
    from host.in_process import use_host

    use_host(options.host)
    DOCS.mkdir(exist_ok=True)
    for file in draw_all(DOCS):
        print(file)


if __name__ == "__main__":
    main()
