"""Help pages, node texts and READMEs describe the nodes, in English and in Chinese."""

import json
import re
from pathlib import Path

import pytest
from animatediff_loom.motion_modules.families import FAMILIES
from animatediff_loom.nodes import NODES
from animatediff_loom.nodes.inputs import (
    CameraPathSocket,
    MotionModelSocket,
    MotionStrengthSocket,
    ReportSocket,
    TrainingClipsSocket,
)
from PIL import Image

from tests.support.motion_models import KEYS
from tests.support.texts import code_lines, english_links, heading_links, headings, links_within, local_links, web_links

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "web" / "docs"  # what the frontend takes a relative picture in a help page to stand in
LANGUAGES = ["en", "zh"]
SCHEMAS = [node.GET_SCHEMA() for node in NODES]
READMES = ["README.md", "README.zh.md"]
PAGES = [f"web/docs/{schema.node_id}/{language}.md" for schema in SCHEMAS for language in LANGUAGES]
GUIDE = ("how-it-works", "motion-modules", "write-a-module", "costs", "coming-from-animatediff-evolved")
GUIDES = [f"docs/{page}{ending}" for page in GUIDE for ending in (".md", ".zh.md")]
ARCHITECTURES = [f"docs/architectures/{key}{ending}" for key in KEYS for ending in (".md", ".zh.md")]
FOR_CONTRIBUTORS = ["CONTRIBUTING", "SECURITY", "docs/debugging", "docs/extending", "docs/worked-contribution"]
CONTRIBUTING = [f"{page}{ending}" for page in FOR_CONTRIBUTORS for ending in (".md", ".zh.md")]
WRITTEN = [*READMES, *GUIDES, *CONTRIBUTING, "CHANGELOG.md", *PAGES, *ARCHITECTURES]
SOCKETS = (CameraPathSocket, MotionModelSocket, MotionStrengthSocket, ReportSocket, TrainingClipsSocket)
SHARED_CHOICES = {"LoomContextPreview"}  # described on the page of Context Windows
COMMANDS = ["python scripts/demo.py", "python scripts/test.py"]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def chinese(file: str) -> dict:
    return json.loads(read(f"locales/zh/{file}.json"))


def title(schema, language: str) -> str:
    return schema.display_name if language == "en" else chinese("nodeDefs")[schema.node_id]["display_name"]


def all_inputs(inputs, prefix: str = ""):
    """Yield inputs with the keys under which the frontend looks for their texts, those of dynamic combos as well."""
    for each in inputs:
        yield prefix + each.id, each
        nested = {inner.id: inner for option in getattr(each, "options", []) for inner in getattr(option, "inputs", [])}
        yield from all_inputs(nested.values(), f"{prefix}{each.id}_")


def translatable(schema) -> dict:
    """Return the keys of a schema's texts in the form of the host's locale files."""
    return {
        "display_name": None,
        "description": None,
        "inputs": {key: {"name": None, "tooltip": None} for key, _ in all_inputs(schema.inputs)},
        "outputs": {str(index): {"name": None} for index in range(len(schema.outputs))},
    }


def keys_of(texts) -> dict | None:
    return {key: keys_of(value) for key, value in texts.items()} if isinstance(texts, dict) else None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.node_id)
def test_help_page_explains_every_input_output_and_choice(schema, language):
    page = read(f"web/docs/{schema.node_id}/{language}.md")
    assert page.startswith(f"# {title(schema, language)}\n")
    inputs = [each for _, each in all_inputs(schema.inputs)]
    names = [each.id for each in inputs] + [each.display_name for each in schema.outputs]
    missing = [name for name in names if f"- **`{name}`" not in page]
    choices = {"beta_schedule": "`{}`", "family": "**{}", "schedule": "**`{}`**", "fuse": "`{}`"}
    choices["architecture"] = "\n- **`{}`**"
    for each in inputs if schema.node_id not in SHARED_CHOICES else []:
        written = choices.get(each.id, "")
        options = [getattr(option, "key", option) for option in getattr(each, "options", [])]
        missing += [option for option in options if written.format(option) not in page]
    assert [name for name in missing if name != "auto"] == []


@pytest.mark.parametrize("page", PAGES)
def test_help_page_fits_the_narrow_panel(page):
    tables = [line for line in read(page).splitlines() if line.startswith("|")]
    assert [line for line in tables if line.count("|") > 3] == []


def test_no_help_page_without_a_node():
    folders = {path.parent.name for path in (ROOT / "web" / "docs").glob("*/*.md")}
    assert folders == {schema.node_id for schema in SCHEMAS}


def test_english_node_texts_come_from_the_schemas_alone():
    """The frontend falls back to the schema, so a file of English texts would only be a second copy."""
    assert [path.name for path in (ROOT / "locales").iterdir()] == ["zh"]


def test_chinese_node_texts_cover_the_schemas():
    assert keys_of(chinese("nodeDefs")) == {schema.node_id: translatable(schema) for schema in SCHEMAS}


def test_chinese_data_types_cover_the_sockets_of_the_pack():
    assert set(chinese("main")["dataTypes"]) == {socket.io_type for socket in SOCKETS}


def test_chinese_node_texts_are_chinese():
    texts = re.findall(r'"(?:name|tooltip|description|display_name)": "(.*)"', read("locales/zh/nodeDefs.json"))
    assert texts
    assert [text for text in texts if not re.search(r"[\u4e00-\u9fff]", text)] == []


@pytest.mark.parametrize("path", [path for path in WRITTEN if path.endswith("zh.md")])
def test_chinese_emphasis_is_one_to_markdown(path):
    """CommonMark sees no bold where its mark stands between a letter and punctuation, as Chinese often has it."""
    text = read(path)
    bold = re.finditer(r"(?<!\*)\*\*([^*\n]+)\*\*", text)
    around = [
        (text[match.start() - 1] + match[1][0], match[1][-1] + text[match.end() : match.end() + 1]) for match in bold
    ]
    assert [pair for pair in around if re.match(r"\w\W", pair[0]) or re.match(r"\W\w", pair[1])] == []


@pytest.mark.parametrize("path", WRITTEN)
def test_links_lead_somewhere(path):
    text, folder = read(path), (ROOT / path).parent
    pictures = re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", text) if path in PAGES else []
    broken = [link for link in local_links(text) if link not in pictures and not (folder / link).exists()]
    broken += [link for link in pictures if not (DOCS / link).is_file()]
    broken += [link for link in links_within(text) if link not in heading_links(text)]
    assert broken == []


@pytest.mark.parametrize("path", READMES)
def test_readme_has_the_two_commands(path):
    assert [line for line in code_lines(read(path)) if line.startswith("python")] == COMMANDS
    assert all((ROOT / command.split()[1]).is_file() for command in COMMANDS)


@pytest.mark.parametrize("path", READMES)
def test_readme_names_every_family_and_node(path):
    text = read(path)
    assert [family.name for family in FAMILIES if f"| {family.name} |" not in text] == []
    assert [schema.node_id for schema in SCHEMAS if schema.node_id not in text] == []


def test_readme_begins_with_a_small_moving_picture():
    (file,) = {re.search(r"!\[[^]]+\]\(([^)]+)\)", read(path))[1] for path in READMES}
    assert (ROOT / file).stat().st_size < 1e6
    with Image.open(ROOT / file) as picture:
        assert picture.n_frames > 1


def test_readmes_have_the_same_structure():
    english, chinese = map(read, READMES)
    assert headings(english) == headings(chinese)
    assert code_lines(english) == code_lines(chinese)
    assert english.count("\n|") == chinese.count("\n|")
    assert english_links(english) == english_links(chinese)
    assert web_links(english) == web_links(chinese)
    assert len(links_within(english)) == len(links_within(chinese))


@pytest.mark.parametrize("page", CONTRIBUTING)
def test_contributing_names_paths_that_exist(page):
    named = re.findall(r"`((?:\w+/)+\w*(?:\.\w+)?)`", read(page))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_licence_is_the_whole_apache_licence():
    text = read("LICENSE")
    assert "Version 2.0, January 2004" in text
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text
