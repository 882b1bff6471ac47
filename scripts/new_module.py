"""Make an architecture of motion modules from a small one that works: its file, its test, its pages. Needs Python 3.10.

All tests pass with it as it stands; change it from there. Nothing that is there already is overwritten. With --remove,
it takes back what it made.
"""

import argparse
import builtins
import json
import keyword
import re
from pathlib import Path
from string import Template

from host.checkout import ROOT, VENV, python_in
from host.errors import SetupError
from host.script import run_as_script

TEMPLATES = Path(__file__).resolve().parent / "templates" / "architecture"
MADE = {
    "module.py.txt": "motion_modules/architectures/{}.py",
    "test.py.txt": "tests/motion_modules/architectures/test_{}.py",
    "page.md.txt": "docs/architectures/{}.md",
    "page.zh.md.txt": "docs/architectures/{}.zh.md",
}
LISTS = {
    "line.md.txt": "web/docs/LoomNewMotionModel/en.md",
    "line.zh.md.txt": "web/docs/LoomNewMotionModel/zh.md",
}
PUBLISHED = "tests/host/published_names.json"
KEY, LONGEST = re.compile(r"[a-z][a-z0-9_]*"), 40
PARTS_OF_DIFFUSERS = ("norm", "proj_in", "transformer_blocks", "proj_out")
USED = re.compile(r'(?:motion_module\(|"key": |architectures\(\)\[)\s*"(\w+)"')
LIST = re.compile(r"^- \*\*`temporal_transformer`.*\n(?:- .*\n)*", re.M)


def main() -> int:
    options = _parser().parse_args()
    _refuse_incomplete_checkout()
    if options.remove:
        remove(options.name, options.force)
    else:
        create(options.name)
    return 0


def create(key: str) -> None:
    """Write the files of an architecture and its lines in the lists, and print what to do next."""
    _refuse_key(key)
    created = {pattern.format(key): fill_template(template, key) for template, pattern in MADE.items()}
    changed = {path: insert_line(path, fill_template(template, key)) for template, path in LISTS.items()}
    changed[PUBLISHED] = add_published_name(key)
    for path, text in {**created, **changed}.items():
        (ROOT / path).write_text(text, encoding="utf-8", newline="\n")
    for title, lines in {"Created:": created, "Updated:": changed, "Next:": list_next_steps(key)}.items():
        print("\n  ".join([title, *lines]))


def remove(key: str, force: bool) -> None:
    """Delete the files that `create` wrote and their lines in the lists; changed files only with `force`."""
    files = {pattern.format(key): fill_template(template, key) for template, pattern in MADE.items()}
    present = [path for path in files if (ROOT / path).exists()]
    if not KEY.fullmatch(key) or not present:
        raise SetupError(f"NAME is '{key}', but there is no {MADE['module.py.txt'].format(key)}: check the name.")
    changed = [path for path in present if read(ROOT / path) != files[path]]
    if changed and not force:
        raise SetupError(f"{', '.join(changed)} changed since NAME was made: add --force to delete your changes too.")
    texts = {path: remove_line(path, key) for path in LISTS.values()} | {PUBLISHED: remove_published_name(key)}
    for path in present:
        (ROOT / path).unlink()
    for path, text in texts.items():
        (ROOT / path).write_text(text, encoding="utf-8", newline="\n")
    print("\n  ".join(["Deleted:", *present]), "\n  ".join(["Updated:", *texts]), sep="\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="its key: lower-case letters, digits and underscores, such as my_mixer")
    parser.add_argument("--remove", action="store_true", help="delete what this script made under that name")
    parser.add_argument("--force", action="store_true", help="with --remove, also delete files that were changed")
    return parser


def _refuse_incomplete_checkout() -> None:
    needed = [*LISTS.values(), PUBLISHED, *(str(Path(pattern).parent) for pattern in MADE.values())]
    missing = [path for path in needed if not (ROOT / path).exists()]
    if missing:
        raise SetupError(f"{ROOT} has no {missing[0]}, so it is no checkout: clone the repository, and run this there.")


def _refuse_key(key: str) -> None:
    if not KEY.fullmatch(key) or keyword.iskeyword(key) or key in PARTS_OF_DIFFUSERS:
        raise SetupError(
            f"NAME is '{key}', which cannot be a key: use lower-case letters, digits and underscores, such as my_mixer."
        )
    if len(key) > LONGEST:
        raise SetupError(f"NAME has {len(key)} letters, at most {LONGEST} fit into a line: choose a shorter one.")
    if {class_name(key), f"{class_name(key)}Config"} & list_used_names():
        raise SetupError(
            f"NAME is '{key}', so its class would be {class_name(key)}, which means something else: choose another one."
        )
    for path in (pattern.format(key) for pattern in MADE.values()):
        if (ROOT / path).exists():
            raise SetupError(f"NAME is '{key}', but {path} is there already: choose another one.")
    if key in list_used_keys():
        raise SetupError(f"NAME is '{key}', a key that the pack or its tests use already: choose another one.")


def class_name(key: str) -> str:
    return "".join(word.capitalize() for word in key.split("_"))


def list_used_names() -> set[str]:
    """Python's own, and those that the new file imports."""
    imports = re.findall(r"^(?:from|import) .*", read(TEMPLATES / "module.py.txt"), re.M)
    return {*dir(builtins), *re.findall(r"\w+", "\n".join(imports))}


def list_used_keys() -> set[str]:
    """Keys of architectures that are registered somewhere in the checkout, by the guide and by tests too."""
    folders = ("motion_modules", "docs", "tests")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".md")]
    return {key for file in files for key in USED.findall(read(file))}


def fill_template(template: str, key: str) -> str:
    return Template(read(TEMPLATES / template)).substitute(key=key, class_name=class_name(key))


def insert_line(path: str, line: str) -> str:
    """Return the help page with one more line after its list of architectures."""
    page = read(ROOT / path)
    match = LIST.search(page)
    if not match:
        raise SetupError(f"{path} has no list of architectures that begins with temporal_transformer: mend that page.")
    return page[: match.end()] + line + page[match.end() :]


def remove_line(path: str, key: str) -> str:
    """Return the help page without the line of `key` in its list of architectures."""
    return re.sub(rf"^- \*\*`{key}`.*\n(?:  .*\n)*", "", read(ROOT / path), flags=re.M)


def remove_published_name(key: str) -> str:
    names = json.loads(read(ROOT / PUBLISHED))
    names["LoomNewMotionModel"]["inputs"]["architecture"].pop(key, None)
    return json.dumps(names, indent=2) + "\n"


def add_published_name(key: str) -> str:
    """The table of published names, with `key` and none of the inputs that an architecture may have."""
    names = json.loads(read(ROOT / PUBLISHED))
    names["LoomNewMotionModel"]["inputs"]["architecture"][key] = {}
    return json.dumps(names, indent=2) + "\n"


def list_next_steps(key: str) -> list[str]:
    module, page = (MADE[template].format(key) for template in ("module.py.txt", "page.md.txt"))
    test, python = MADE["test.py.txt"].format(key), python_in(VENV).relative_to(ROOT).as_posix()
    return [
        f"test it, in seconds: {python} -m pytest -q {test}",
        f"without {VENV.name} or pytest: python scripts/test.py {test}, which installs both",
        f"change {module}; docs/write-a-module.md explains its parts",
        f"train it: python demo/loom_mini/train.py motion --architecture {key}",
        f"test what all architectures keep: python scripts/test.py tests -k {key}",
        f"say what it does: {page}, and its line in {LISTS['line.md.txt']}; the tests name each number to write",
        "in the two Chinese pages, copy code, tables and numbers; the sentences may be left to a maintainer",
        f"or take it back: python scripts/new_module.py {key} --remove",
    ]


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    run_as_script(main)
