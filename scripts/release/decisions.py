"""Find what has to be decided or written before a version can be published."""

import re
from collections.abc import Iterator
from pathlib import Path

from host.checkout import ROOT

OWNER_DECIDES = {
    "Repository": "the address of the repository",
    "PublisherId": "the publisher's id in the registry",
    "Icon": "the address of docs/icon.svg in the repository",
}
ADDRESSES = ("Repository", "Icon")
PLACEHOLDER = re.compile(
    r"to-be-decided|\.(?:invalid|example|test)(?:/|$)|//example\.|(?:^|/)(?:owner|user|username|your[\w-]*)(?:/|$)",
    re.I,
)
CLONE = re.compile(r"^git clone (\S+) animatediff_loom$", re.M)


def find_faults(root: Path = ROOT) -> list[str]:
    """Return one fault of the texts in `root` per entry, each with its remedy."""
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    faults = list(find_placeholders(project))
    return [*(faults or find_other_addresses(root, read_value(project, "Repository"))), *check_changelog(root, project)]


def find_placeholders(project: str) -> Iterator[str]:
    for name, meaning in OWNER_DECIDES.items():
        value = read_value(project, name)
        if is_undecided(name, value):
            yield f"pyproject.toml: `{name}` is '{value}'. Set it to {meaning}."


def find_other_addresses(root: Path, repository: str) -> Iterator[str]:
    for name in ("README.md", "README.zh.md"):
        if CLONE.findall((root / name).read_text(encoding="utf-8")) != [repository]:
            yield f"{name}: `git clone` does not name `Repository` of pyproject.toml. Write {repository} there."


def check_changelog(root: Path, project: str) -> Iterator[str]:
    version = read_value(project, "version")
    if f"\n## [{version}]" not in (root / "CHANGELOG.md").read_text(encoding="utf-8"):
        yield f"CHANGELOG.md: version {version} of pyproject.toml has no heading. Rename [Unreleased] to [{version}]."


def read_value(project: str, name: str) -> str:
    """Return the text that pyproject.toml sets `name` to, or an empty one."""
    match = re.search(rf'^{re.escape(name)} = "(.*)"$', project, re.M)
    return match[1] if match else ""


def is_undecided(name: str, value: str) -> bool:
    is_address = re.fullmatch(r"https://[\w.-]+\.[a-z]+/\S+", value) is not None
    return not value or bool(PLACEHOLDER.search(value)) or (name in ADDRESSES and not is_address)
