"""A ComfyUI that somebody already has: its code, its Python and the models in it, none of them changed."""

from pathlib import Path

from .checkout import python_in
from .errors import SetupError


def find_comfyui(folder: Path) -> Path:
    """The folder with `main.py`: the one that was named, or `ComfyUI` in it as in the portable build."""
    for tree in (folder, folder / "ComfyUI"):
        if (tree / "main.py").is_file() and (tree / "comfy").is_dir():
            return tree.resolve()
    raise SetupError(f"--comfyui {folder} is no ComfyUI: there is no main.py and comfy folder in it.")


def find_python(tree: Path, named: Path | None = None) -> Path:
    """The interpreter named, or that of an environment in or beside the tree, or that of the portable build."""
    if named:
        if not named.is_file():
            raise SetupError(f"--python {named} is not a file: name the interpreter that runs {tree}.")
        return named.absolute()
    environments = [base / name for base in (tree, tree.parent) for name in (".venv", "venv")]
    places = [*map(python_in, environments), tree.parent / "python_embeded" / "python.exe"]
    for python in places:
        if python.is_file():
            return python
    raise SetupError(f"No Python was found in or beside {tree}: say which one runs it with --python.")


def find_model(name: str, option: str, tree: Path | None, kind: str) -> Path:
    """A model file: a path, or a name as the existing ComfyUI lists it."""
    places = [Path(name)] + ([tree / "models" / kind / name] if tree else [])
    for place in places:
        if place.is_file():
            return place.resolve()
    looked = " and ".join(str(place) for place in places)
    raise SetupError(f"{option} {name} is not a file: looked for {looked}.")
