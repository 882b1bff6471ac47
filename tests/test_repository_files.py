"""Files for contributors: forms of issues, checks before a commit, and the folders that coverage counts."""

import re
from pathlib import Path

import coverage
import pytest
import yaml
from host.checkout import ROOT
from host.environment import TEST_REQUIREMENTS, read_requirements
from release.archive import list_shipped

from tests.support.checkout import in_a_checkout

TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted(file for file in TEMPLATES.glob("*.yml") if file.name != "config.yml")
ATTRIBUTES = {
    "markdown": {"value"},
    "textarea": {"label", "description", "placeholder", "value", "render"},
    "input": {"label", "description", "placeholder", "value"},
    "dropdown": {"label", "description", "multiple", "options", "default"},
    "checkboxes": {"label", "description", "options"},
}
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
forms = pytest.mark.parametrize("file", FORMS, ids=lambda file: file.stem)


def read(file) -> dict:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def read_ignore_patterns() -> list[str]:
    return (ROOT / ".comfyignore").read_text(encoding="utf-8").split()


@forms
def test_a_form_has_fields_of_known_types(file):
    form = read(file)
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title"}
    for field in form["body"]:
        assert set(field) <= {"type", "id", "attributes", "validations"}
        assert set(field["attributes"]) <= ATTRIBUTES[field["type"]], field
        assert set(field.get("validations", ())) <= {"required"}
        assert field["type"] == "markdown" or ({"id"} <= set(field) and "label" in field["attributes"])


@forms
def test_fields_of_a_form_are_told_apart(file):
    fields = [field for field in read(file)["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in fields] + [field["attributes"]["label"] for field in fields]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w-]+", field["id"], re.A) for field in fields)
    assert any(field["validations"]["required"] for field in fields if "validations" in field)
    options = [field["attributes"]["options"] for field in fields if field["type"] == "dropdown"]
    assert all(len(set(each)) == len(each) > 1 for each in options)


@forms
def test_a_form_is_in_both_languages(file):
    form = read(file)
    texts = [form["name"], form["description"], *(field["attributes"].get("label", "") for field in form["body"])]
    for text in filter(None, texts):
        assert re.search(r"[a-z]{3}", text) and re.search(r"[\u4e00-\u9fff]", text), text


def test_a_bug_report_asks_for_what_it_takes():
    required = {
        field["id"]
        for field in read(TEMPLATES / "bug_report.yml")["body"]
        if field.get("validations", {}).get("required")
    }
    assert {"versions", "motion-model-info", "workflow", "log"} <= required


def test_every_link_of_the_chooser_is_complete():
    links = read(TEMPLATES / "config.yml")["contact_links"]
    assert links
    assert all(set(link) == {"name", "url", "about"} for link in links)


def test_ruff_before_a_commit_is_that_of_the_tests():
    pins = {pin for hook in HOOKS for pin in hook["additional_dependencies"]}
    (ruff,) = [pin for pin in pins if pin.startswith("ruff")]
    assert ruff in read_requirements(TEST_REQUIREMENTS)
    assert all("==" in pin for pin in pins)


@in_a_checkout
def test_coverage_counts_every_folder_of_python_that_ships():
    packages = [Path(name).parent for name in list_shipped() if name.endswith("/__init__.py")]
    shipped = {folder.name for folder in packages if len(folder.parts) == 1}
    assert set(coverage.Coverage(config_file=str(ROOT / "pyproject.toml")).get_option("run:source_dirs")) == shipped


@pytest.mark.parametrize("name", [".ci", ".github", ".pre-commit-config.yaml", "scripts", "tests"])
@in_a_checkout
def test_what_is_for_contributors_is_not_shipped(name):
    assert (ROOT / name).exists()
    assert [file for file in list_shipped() if Path(file).is_relative_to(name)] == []


def test_only_the_top_folder_is_left_out():
    """Without a leading slash, `docs/` would also leave out the help pages in `web/docs`."""
    assert [pattern for pattern in read_ignore_patterns() if not pattern.removeprefix("!").startswith("/")] == []
