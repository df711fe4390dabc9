"""Writes docs/reference/settings.md, cli.md, exit-codes.md and codecs.md from the running objects, interop.md from the
record of the interop tests (`pytest tests/interop --interop-table`), rendering.md from what they compare with. Of
dicomweb.md, the table of resources; of the README, that of figures.

python tools/generate_docs.py            write
python tools/generate_docs.py --check    exit with 1 if a page is not what would be written
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from isocenter.cli import exit_codes
from isocenter.cli.main import COMMANDS, app, load
from isocenter.cli.settings import meaning, value_text
from isocenter.settings import rows
from isocenter.web.resources import RESOURCE_TABLE

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
sys.path.insert(0, str(FOLDER.parents[1] / "tests"))

sys.path.insert(0, str(Path(__file__).resolve().parent))

import codec_cells  # noqa: E402  (nor is tools/)
import interop_table  # noqa: E402  (tests/ is not a package)
import picture_oracles  # noqa: E402
import readme_figures  # noqa: E402
from unit import test_dicomjson, test_dicomxml  # noqa: E402

_BY_HAND = FOLDER  # pages that are partly written by hand are read from here, wherever they are written to
_ROUTES = "<!-- Made by tools/generate_docs.py from web/resources.py -->"
_ROUTES_END = "<!-- end of what is made -->"
_BESIDE = "<!-- Made by tools/generate_docs.py from the tests that compare them -->"
_BESIDE_END = "<!-- end of what the tests say -->"

_MADE = "<!-- Made by tools/generate_docs.py; edit what it is made from. -->\n"
_GROUPS = {
    "archive": "The archive",
    "dimse": "DIMSE",
    "jwt": "JSON Web Tokens",
    "tls": "TLS",
    "web": "Web",
    "jobs": "Jobs for peers",
    "work": "Work: the worklist and what modalities are to do",
    "limits": "Limits on what a peer can grow",
    "log": "Log",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def settings_page() -> str:
    """Every row of the settings table."""
    lines = [
        "# Settings",
        "",
        "A setting comes from the command line, else from the environment, else from the file given with `--config`,",
        "else it has its default. `isocenter settings` shows what applies here and now, and where it comes from.",
        "",
        "```toml",
        "[archive]",
        'data = "archive"',
        "",
        "[dimse]",
        'aet = "ISOCENTER"',
        "",
        "[[peer]]",
        'name = "workstation"',
        'aet = "VIEWER"',
        'host = "10.0.0.7"',
        "port = 104",
        "```",
        "",
        "Each `[[peer]]` is an application entity that we know: `name`, `aet`, `host` and `port` are needed; `tls`",
        "(default `false`), `services` (default all: `echo`, `store`, `find`, `get`, `move`, `commit`) and",
        "`max_associations` (at a time) may follow, and `notify` (default `false`): tell it what has come.",
        "`[[forward]]` tables say what goes on to which of them: [Forward objects](../guides/forwarding.md).",
        "Commands that are given the file take a peer's name in place of `AET@HOST:PORT`.",
    ]
    group = ""
    for row in rows():
        if row.group != group:
            group = row.group
            lines += [
                "",
                f"## {_GROUPS.get(group, group)}",
                "",
                "| `[" + group + "]` | Default | Meaning | Environment |",
            ]
            lines.append("|---|---|---|---|")
        default = value_text(row, row.default) + (f" {row.unit}" if row.unit not in ("", "bytes") else "")
        text = meaning(row) + (" In bytes." if row.unit == "bytes" else "")
        if row.low is not None and not row.choices:
            text += f" At least {row.low:g}."
        lines.append(f"| `{row.name}` | `{_cell(default)}` | {_cell(text)} | `{row.env}` |")
    return _MADE + "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command with its arguments and options."""
    lines = [
        "# Commands",
        "",
        "Data go to stdout, everything else to stderr. `--json` makes the data JSON: one document, or one line for",
        "each object where there are many. A progress bar appears on a terminal after a second.",
        "How a command ended is its [exit code](exit-codes.md). `isocenter COMMAND --help` says the same as this page.",
        "",
    ]
    lines += [f"- [`{name}`](#isocenter-{name}): {summary}" for name, (_, summary) in COMMANDS.items()]
    root = typer.main.get_command(app)
    with root.make_context("isocenter", [], resilient_parsing=True) as parent:
        for name in COMMANDS:
            lines += ["", *_command(name, parent)]
    return _MADE + "\n".join(lines) + "\n"


def _command(name: str, parent: Any) -> list[str]:
    """One command. Not from Typer's own help, whose looks change from version to version."""
    command = load(name)
    with command.make_context(name, [], parent=parent, resilient_parsing=True) as context:
        parameters = [one for one in command.get_params(context) if not getattr(one, "hidden", False)]
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    usage = " ".join(["isocenter", name, "[OPTIONS]", *(_argument(one) for one in arguments)])
    lines = [f"## isocenter {name}", "", "```text", usage, "```", ""]
    lines += [line.strip() for line in (command.help or "").strip().splitlines()]
    if arguments:
        lines += ["", "| Argument | Meaning |", "|---|---|"]
        lines += [f"| `{_argument(one)}` | {_cell(one.help or '')} |" for one in arguments]
    lines += ["", "| Option | Meaning |", "|---|---|"]
    lines += [_option(one) for one in parameters if one.param_type_name == "option"]
    return lines


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()).removesuffix("...")
    return f"{name}..." if parameter.nargs == -1 else str(name)


def _option(parameter: Any) -> str:
    value = (
        "" if getattr(parameter, "is_flag", False) or parameter.name == "help" else f" {parameter.metavar or 'VALUE'}"
    )
    text = parameter.help or "Show this message and exit."
    if parameter.required:
        text += " Needed."
    elif value and parameter.default not in (None, "", ()):
        text += f" Default: {parameter.default}."
    return f"| `{', '.join(sorted(parameter.opts, key=len))}{_cell(value)}` | {_cell(text)} |"


def exit_codes_page() -> str:
    """The table of exit codes."""
    lines = ["# Exit codes", "", "They mean the same for every command.", "", "| Code | Meaning |", "|---|---|"]
    lines += [f"| {code} | {_cell(text)} |" for code, text in exit_codes.MEANINGS.items()]
    return _MADE + "\n".join(lines) + "\n"


def interop_page() -> str:
    """Which services were shown to work with whom, in which role of ours."""
    versions, cases = interop_table.read_record()
    lines = [
        "# Interoperability",
        "",
        "Each cell is a number of tests that passed in the last recorded run, with the software of others named in the",
        "row, and leads to them. SCP: they ask us. SCU: we ask them.",
        "",
        "Recorded with " + ", ".join(f"{name} {number}" for name, number in versions.items()) + ".",
        "",
        "| Service | Peer | We are SCP | We are SCU |",
        "|---|---|---|---|",
    ]
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for case in cases:
        rows.setdefault((case.service, case.peer), {"SCP": [], "SCU": []})[case.role].append(case.test)
    for (service, peer), roles in sorted(rows.items(), key=lambda row: (_rank(row[0][0]), row[0])):
        lines.append(f"| {service} | {peer} | {_tests(roles['SCP'])} | {_tests(roles['SCU'])} |")
    lines += [
        "",
        "## What peers do not have",
        "",
        f"{', '.join(interop_table.PEERS)} are tried in both roles with each service of Storage, Query/Retrieve and",
        "Storage Commitment, in each root. These cells are empty because there is nothing to try.",
        "",
        "| Peer | We are | Service | Why |",
        "|---|---|---|---|",
    ]
    lines += [f"| {one.peer} | {one.role} | {'<br>'.join(one.services)} | {one.why} |" for one in interop_table.LACKS]
    lines += [
        "",
        "To record a run: `python -m pytest tests/interop --interop-table`, then `make docs`. What was not run keeps",
        "its entry, what did not pass loses it, and `tests/docs` fails while a marked test has none.",
    ]
    return _MADE + "\n".join(lines) + "\n"


_ORDER = ("Verification", "Storage", "C-FIND", "C-GET", "C-MOVE", "Storage Commitment", "Instance Availability")


def _rank(service: str) -> int:
    found = [place for place, name in enumerate(_ORDER) if service == name or service.startswith(f"{name}, ")]
    return found[0] if found else len(_ORDER)


def _tests(tests: list[str]) -> str:
    """A link for each file, with the number of its tests."""
    files = Counter(test.partition("::")[0] for test in tests)
    return "<br>".join(
        f"[{count} {'test' if count == 1 else 'tests'}](../../{file})" for file, count in sorted(files.items())
    )


def codecs_page() -> str:
    """What each transfer syntax carries."""
    return _MADE + codec_cells.page()


def rendering_page() -> str:
    """How pictures compare with those of others."""
    return _MADE + picture_oracles.page()


def dicomweb_page() -> str:
    """The page as it is, with the table of resources made anew."""
    page = (_BY_HAND / "dicomweb.md").read_text("utf-8")
    before, _, rest = page.partition(_ROUTES)
    after = rest.partition(_ROUTES_END)[2]
    lines = ["", "", "| Request | What | Section of PS3.18 | Test |", "|---|---|---|---|"]
    for row in RESOURCE_TABLE:
        if row.path == "/":  # the same as without it
            continue
        file, _, function = row.test.partition("::")
        test = f"[{function.removeprefix('test_').replace('_', ' ')}](../../tests/skins/{file})"
        lines.append(f"| {row.method} `{row.path or '/'}` | {row.what} | {row.section or 'ours'} | {test} |")
    page = before + _ROUTES + "\n".join(lines) + "\n\n" + _ROUTES_END + after
    before, _, rest = page.partition(_BESIDE)
    return before + _BESIDE + "\n".join(_differences()) + "\n\n" + _BESIDE_END + rest.partition(_BESIDE_END)[2]


def _differences() -> Iterator[str]:
    """What the tests over the corpus allow to differ from others' JSON and XML, and in how many files it does."""
    yield from ("", "", "| Beside | Files | What they have otherwise, and why ours is kept |", "|---|---|---|")
    for name, known in (
        ("pydicom, JSON", test_dicomjson.DIFFERENT),
        ("dcm2json", test_dicomxml.DIFFERENT["dcm2json"]),
        ("dcm2xml", test_dicomxml.DIFFERENT["dcm2xml"]),
    ):
        for reason, count in Counter(known.values()).items():
            yield f"| {name} | {count} | {_cell(reason)} |"


PAGES = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "exit-codes.md": exit_codes_page,
    "interop.md": interop_page,
    "codecs.md": codecs_page,
    "rendering.md": rendering_page,
    "dicomweb.md": dicomweb_page,
    "README.md": readme_figures.readme_page,
}


def place(name: str) -> Path:
    """Where a page is; the README is in the root."""
    return (FOLDER.parents[1] if name == "README.md" else FOLDER) / name


def stale() -> list[str]:
    """Names of the pages that are not what would be written."""
    return [
        name for name, page in PAGES.items() if not place(name).is_file() or place(name).read_text("utf-8") != page()
    ]


def main() -> None:
    if "--check" in sys.argv[1:]:
        found = stale()
        for name in found:
            print(f"{name} is not up to date; run: python tools/generate_docs.py")
        sys.exit(1 if found else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        place(name).write_text(page(), "utf-8")
        print(place(name))


if __name__ == "__main__":
    main()
