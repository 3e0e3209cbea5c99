"""The pages say what is so: every block of README.md and docs/*.md runs, every table is compared.

How blocks are written and run stands in tests/pages.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import sqlite3
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from unified_flux import ImageRequest, contract, errors, geometry, registry
from unified_flux.cli.fields import fields_table, markdown
from unified_flux.cli.group import COMMANDS
from unified_flux.contract import Card
from unified_flux.journal.tables import MIGRATIONS
from unified_flux.output import PLACEHOLDERS
from unified_flux.report import LOSSES
from unified_flux.sandbox.server import SandboxServer
from unified_flux.settings import SETTINGS, key_name, url_name

from pages import Place, blocks, clean, code, expected, steps, tables  # isort: skip

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
RECORDS = sorted((DOCS / "decisions").glob("*.md"))
# Paths of one machine, and hosts of package registries.
FOREIGN = re.compile(
    r"(?<![\w.])/(?:root|tmp|home|Users|opt|mnt|srv)/\w|py[p]i\.|python[h]osted|npm[j]s",
    re.IGNORECASE,
)


def table(page: str, *heads: str) -> list[list[str]]:
    """The rows of the one table of a page whose head begins so."""
    found = [rows for rows in tables(DOCS / page) if tuple(rows[0][: len(heads)]) == heads]
    assert len(found) == 1, f"{page} has {len(found)} tables that begin with {heads}"
    return found[0][1:]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The input pictures that pages may rely on."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.effect_noise((640, 480), 60).save(folder / "den.jpg")
    Image.new("RGB", (300, 400), "firebrick").save(folder / "coat.png")
    return folder


@pytest.fixture
def place(tmp_path: Path, cache_folder: Path, pictures: Path, served: SandboxServer) -> Place:
    """A folder with the pictures, a bare environment, and a served sandbox's keys beside it."""
    folder = tmp_path / "page"
    shutil.copytree(pictures, folder)
    programs = Path(sys.executable).parent
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(cache_folder),
        "UNIFIED_FLUX_HOME": str(tmp_path / "data"),
        "LC_ALL": "C.UTF-8",
    }
    keys = {key_name(name): served.key for name in served.providers}
    addresses = {url_name(name): url for name, url in served.providers.items()}
    return Place(Path(), folder, environment, {**keys, **addresses})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page: Path, place: Place) -> None:
    """The commands and programs of a page do what the page shows, in the order of the page."""
    hidden = re.findall(r"^(?:[ \t]+```|~~~).*", page.read_text("utf-8"), re.MULTILINE)
    assert not hidden, f"{page.name}: a block that nobody runs: {hidden}"
    place = dataclasses.replace(place, page=page)
    for block in blocks(page):
        where = f"{page.name} line {block.line}"
        assert not block.faults, f"{where}: {block.faults}"
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json":
            json.loads(block.text)
        if block.origin is not None:
            assert block.text in (ROOT / block.origin).read_text("utf-8"), f"{where}: misquoted"
            continue
        if "run by hand" in block.marks:
            by_hand = {"performance.md", "reliability.md"}
            assert page.name in by_hand, f"{where}: only benchmarks and long proofs are run by hand"
        elif "run by .ci/run" not in block.marks:
            place.run(block)


def test_readme_begins_with_two_commands() -> None:
    """The README opens with the two commands that .ci/run takes out of it and runs, and shows of
    the first what the quick start, whose blocks run here, shows of the same command.
    """
    readme = ROOT / "README.md"
    first, second = list(blocks(readme))[:2]
    assert "run by .ci/run" in first.marks
    assert "run by .ci/run" in second.marks
    ((made, shown),) = steps(first)
    ((tested, _),) = steps(second)
    making = 'unified-flux generate "a red fox in fresh snow" -o fox.png'
    assert made == f"python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/{making}"
    assert tested == (
        "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest"
    )
    taken = re.findall(r"^(?:\$ )?(python3 -m venv .*)$", readme.read_text("utf-8"), re.MULTILINE)
    assert taken == [made, tested]
    assert (making, shown[1:]) == steps(next(blocks(DOCS / "quickstart.md")))[0]


def test_configuration_lists_every_setting() -> None:
    """docs/configuration.md has each setting once, with the default that the code has."""
    rows = table("configuration.md", "setting", "default")
    said = {code(row[0])[0]: row[1] for row in rows}
    assert said == {
        setting.name: "none" if setting.default is None else f"`{_plain(setting.default)}`"
        for setting in SETTINGS
    }
    text = (DOCS / "configuration.md").read_text("utf-8")
    for setting in SETTINGS:
        assert (f"UNIFIED_FLUX_{setting.name.upper()}" in text) is setting.variable, setting.name


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("name", ["jobs", "requests", "outputs", "events", "spending"])
def test_the_journal_page_lists_every_column(name: str) -> None:
    """docs/journal.md has the columns of each table in order, with their types."""
    said = []
    for row in table("journal.md", f"column of `{name}`", "type"):
        names, kinds = code(row[0]), row[1].split(", ")
        said += zip(names, kinds if len(kinds) > 1 else kinds * len(names), strict=True)
    with contextlib.closing(sqlite3.connect(":memory:")) as made:
        for statement in (one for step in MIGRATIONS for one in step):
            made.execute(statement)
        columns = made.execute("SELECT name, type FROM pragma_table_info(?)", (name,)).fetchall()
    assert said == [tuple(column) for column in columns]


def test_configuration_lists_every_option_of_a_provider() -> None:
    """docs/configuration.md has each provider's own options with their values, the default first."""
    rows = table("configuration.md", "provider", "option", "values")
    said = {(code(row[0])[0], code(row[1])[0]): tuple(code(row[2])) for row in rows}
    assert said == {
        (provider, name): values
        for provider in registry.names()
        for name, values in registry.adapter_class(provider).options.items()
    }


def test_errors_lists_every_class_with_its_exit_code() -> None:
    """docs/errors.md has each error class once, under its parent, with its exit code."""
    rows = table("errors.md", "class", "is a", "exit")
    said = {code(row[0])[0]: ((code(row[1]) or [""])[0], row[2]) for row in rows}
    found = {
        name: (
            "" if kind is errors.UnifiedFluxError else kind.__mro__[1].__name__,
            str(kind.usual_exit_code),
        )
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.UnifiedFluxError)
    }
    assert said == found


def test_cli_names_every_command_and_flag() -> None:
    """docs/cli.md has a section for each command, and each command's own flags stand in it."""
    text = (DOCS / "cli.md").read_text("utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    sections = {name: part for part in parts for name in code(part.partition("\n")[0])}
    for name in COMMANDS:
        assert name in sections, name
        for flag in _flags(import_module(f"unified_flux.cli.{name}").command):
            # Flags that several commands share are explained once, in the section of generate.
            assert f"`{flag}" in sections[name] + sections["generate"], f"{name} {flag}"


def _flags(command: click.Command) -> Iterator[str]:
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    for param in [*command.params, *(param for one in inner for param in one.params)]:
        if isinstance(param, click.Option):
            yield from (*param.opts, *param.secondary_opts)


def _all_cards() -> list[Card]:
    return [card for name in registry.names() for card in registry.make_adapter(name).cards]


def test_contracts_table_agrees_with_the_cards() -> None:
    """The one table of docs/contracts.md has a cell exactly where a card has the field, and the
    cell names the key, every option, both bounds and the default.
    """
    (found,) = (rows for rows in tables(DOCS / "contracts.md") if rows[0][0] == "ImageRequest")
    head, *rows = found
    columns = [[_card(code(cell)[0], name) for name in code(cell)[1:]] for cell in head[1:]]
    assert sorted(str(_name(c)) for column in columns for c in column) == sorted(
        str(_name(card)) for card in _all_cards()
    )
    assert [code(row[0])[0] for row in rows] == [f.name for f in dataclasses.fields(ImageRequest)]
    for row in rows:
        field = code(row[0])[0]
        for cards, cell in zip(columns, row[1:], strict=True):
            for card in cards:
                _compare_cell(field, card, cell)


def test_the_table_of_fields_is_made_of_the_cards() -> None:
    """docs/contracts.md holds what `unified-flux models --markdown` prints, between its marks."""
    page = (DOCS / "contracts.md").read_text("utf-8")
    between = page.partition("<!-- fields -->\n")[2].partition("<!-- /fields -->")[0]
    assert between.splitlines() == list(markdown(fields_table(_all_cards())))


def _name(card: Card) -> tuple[str, str]:
    return card.provider, card.model


def _card(provider: str, model: str) -> Card:
    return next(card for card in _all_cards() if _name(card) == (provider, model))


def _compare_cell(field: str, card: Card, cell: str) -> None:
    told = f"{field} on {_name(card)}: {cell}"
    if field in {"n", "extra"}:
        return
    if field == "references":
        keys = card.reference_keys
        assert {keys[0], keys[-1]} <= set(code(cell)), told
        assert f"{card.references['max_count']} image" in cell, told
        assert f"{card.references['max_bytes'] / 1e6:g} MB" in cell, told
        return
    key = card.fields.get(field)
    assert (cell == "none") is (key is None), told
    if key is None:
        return
    assert key in code(cell), told
    leaf = card.leaves[key]
    said = set(code(cell))
    options = {str(option) for option in leaf.get("enum", ()) if option is not None}
    assert options <= said, told
    assert ("default" in leaf) is ("default" in cell.replace("no default", "")), told
    if "default" in leaf:
        assert f"default `{json.dumps(leaf['default']).strip(chr(34))}`" in cell, told
    for bound in ("minimum", "maximum", "maxLength", "multipleOf"):
        assert bound not in leaf or re.search(rf"\b{leaf[bound]:,}\b", cell), told


def test_cards_page_names_every_key() -> None:
    """docs/cards.md explains each key that stands under x-unified-flux in any card."""
    explained = {code(row[0])[0] for row in table("cards.md", "key", "what it says")}
    used = {key for card in _all_cards() for key in card.facts}
    inner = {f"references.{key}" for card in _all_cards() for key in card.references}
    assert used | inner <= explained


def test_report_and_output_pages_name_every_word() -> None:
    """docs/report.md has each loss that can be allowed, docs/output.md each placeholder of -o."""
    losses = {f"{verb}:{field}" for verb, fields in LOSSES.items() for field in fields}
    rows = table("report.md", "word", "permits")
    assert {word for row in rows for word in code(row[0])} == losses
    rows = table("output.md", "placeholder", "becomes")
    assert {code(row[0])[0] for row in rows} == {f"{{{name}}}" for name in PLACEHOLDERS}


def test_report_page_has_the_sizes_that_come_out() -> None:
    """The table of ratios in docs/report.md has the pixels that the code makes of 1K and 2K."""
    for row in table("report.md", "ratio", "1K", "2K"):
        ratio = geometry.parse_ratio(row[0])
        assert ratio is not None
        sizes = [geometry.size_of(ratio, resolution) for resolution in geometry.PIXELS]
        assert row[1:] == [f"{width} x {height}" for width, height in sizes]


def test_errors_page_has_every_word_of_charged() -> None:
    """docs/errors.md explains each value of `charged`."""
    rows = table("errors.md", "value", "means")
    assert [code(row[0])[0] for row in rows] == [str(word) for word in errors.Charged]


def test_architecture_names_every_room_and_real_functions() -> None:
    """docs/architecture.md has each module, and the walk names functions that are where it says."""
    text = (DOCS / "architecture.md").read_text("utf-8")
    package = ROOT / "unified_flux"
    for entry in sorted(package.iterdir()):
        if entry.suffix == ".py" and not entry.name.startswith("__"):
            assert f"`{entry.name}`" in text, entry.name
        if (entry / "__init__.py").is_file():
            assert f"`{entry.name}/`" in text, entry.name
    rows = table("architecture.md", "step", "file", "function")
    assert rows
    for row in rows:
        source = (ROOT / code(row[1])[0]).read_text("utf-8")
        for name in code(row[2]):
            last = re.escape(name.rpartition(".")[2])
            assert re.search(rf"^ *(?:def|class) {last}\b", source, re.MULTILINE), row


@pytest.mark.parametrize("page", [*PAGES, *RECORDS], ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file that is there, and to a heading that is in it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in slugs, target


@pytest.mark.parametrize("page", [*PAGES, *RECORDS], ids=lambda page: page.name)
def test_no_page_names_a_machine(page: Path) -> None:
    """No page holds a path of one machine or the host of a package registry."""
    text = page.read_text("utf-8")
    assert FOREIGN.findall(text) == []
    assert str(ROOT) not in text


def test_pages_that_others_rely_on_are_there() -> None:
    """The pages that code, cards and messages point to exist."""
    for name in ("sandbox.md", "errors.md", "cards.md", "contracts.md", "changelog.md"):
        assert (DOCS / name).is_file(), name


def test_every_card_is_a_documented_model() -> None:
    """Each card file on disk is one that its adapter loads, so that no column can be missing."""
    files = {path for path in (ROOT / "schemas").glob("*/*.json") if path.name != contract.ANSWERS}
    assert len(files) == len(_all_cards())


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_decisions_have_one_form(record: Path) -> None:
    """A decision is numbered in its name and title and has context, decision and consequence."""
    text = record.read_text("utf-8")
    heads = re.findall(r"^(#+) (.+)$", text, re.MULTILINE)
    assert heads[0][1].startswith(f"{record.name[:4]} ")
    assert [head for level, head in heads if level == "##"] == [
        "Context",
        "Decision",
        "Consequence",
    ]


def test_decisions_are_numbered_without_gaps() -> None:
    """The records are 0001, 0002 and so on."""
    assert [record.name[:4] for record in RECORDS] == [
        f"{number:04}" for number in range(1, len(RECORDS) + 1)
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a ... c"], "a b c\n", True),
        (["a", "...", "d"], "a\nb\nc\nd\n", True),
        (["a", "..."], "b\n", False),
        (["fox.png  4 credits  0.4 s"], "fox.png  4 credits  12.9 s\n", True),
        (["fox.png  4 credits  0.4 s"], "fox.png  5 credits  0.4 s\n", False),
        ([], "something\n", False),
        (["1.5"], "115\n", False),
    ],
)
def test_wildcards_match_no_more_than_they_say(shown: list[str], printed: str, same: bool) -> None:
    """`...` and seconds are the only things in a page that may differ from what is printed."""
    assert bool(expected(shown).fullmatch(clean(printed))) is same
