"""What all commands have in common: exit codes, errors without tracebacks, Ctrl-C, pipes, and a quick start."""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import resource
import signal
import subprocess
import sys
import termios
import time
import types
from pathlib import Path
from typing import IO, Any

import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from isocenter import __version__, errors
from isocenter.cli import exit_codes
from isocenter.cli.main import COMMANDS, app

ISOCENTER = [sys.executable, "-m", "isocenter.cli.main"]
CT = str(get_testdata_file("CT_small.dcm"))


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ISOCENTER, *arguments], capture_output=True, text=True, timeout=60, check=False, **more)


def test_help_lists_every_command_and_exit_code() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in done.stdout] == []
    assert [code for code in exit_codes.MEANINGS if f" {code}  {exit_codes.SHORT[code]}\n" not in done.stdout] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert "--json" in done.stdout
    assert len(COMMANDS[name][1]) <= 64, "must fit a line of help"


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"isocenter {__version__}\n"


def test_no_heavy_library_is_imported_for_help() -> None:
    code = (
        "import sys; from isocenter.cli import main\n"
        "try: main.app(['--help'])\nexcept SystemExit: pass\n"
        "print([n for n in ('numpy', 'pydicom', 'rich', 'asyncio', 'sqlalchemy', 'starlette') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def processor_seconds(*command: str) -> float:
    """The least of five runs: processor time, which other work on the machine does not lengthen much."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_is_there_at_once() -> None:
    assert processor_seconds(sys.executable, "-c", "import isocenter") < 0.060
    assert processor_seconds(*ISOCENTER, "--help") < 0.200


def subclasses(kind: type) -> list[type]:
    return [kind, *(one for child in kind.__subclasses__() for one in subclasses(child))]


def test_every_error_has_a_documented_exit_code() -> None:
    ours = [one for one in subclasses(errors.IsocenterError) if one.__module__.startswith("isocenter.")]
    assert len(ours) > 20
    for kind in ours:
        needed = [
            name
            for name, parameter in inspect.signature(kind).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        ]
        code = exit_codes.of(kind("message", **dict.fromkeys(needed, 1)))
        assert code in exit_codes.MEANINGS
        assert code not in (exit_codes.OK, exit_codes.FAULT)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.SettingsError("x"), 2),
        (errors.ConnectFailed("x"), 3),
        (errors.AssociationRejected("x", result=1, source=1, reason=7), 3),
        (errors.DataFolderInUse("x"), 4),
        (errors.OutOfResources("x"), 5),
        (errors.TruncatedError("x"), 1),
    ],
)
def test_a_typed_error_is_a_message_a_hint_and_a_code(
    error: errors.IsocenterError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = invoke_raising(error, monkeypatch)
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr.startswith("error: x\n")
    assert error.hint in done.stderr
    assert "Traceback" not in done.stderr


def invoke_raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = types.ModuleType("raising")

    def command() -> None:
        raise error

    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raising", module)
    monkeypatch.setitem(COMMANDS, "raise", ("raising", "Raise."))
    return CliRunner().invoke(app, ["raise"])


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke_raising(KeyboardInterrupt(), monkeypatch)
    assert done.exit_code == 130
    assert done.stderr == "\ninterrupted\n"


def left_in(pipe: IO[bytes]) -> int:
    """Bytes that nobody has read."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_ctrl_c_ends_a_command_without_a_traceback() -> None:
    with subprocess.Popen(
        [*ISOCENTER, "dump", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"\0" * 200_000)  # more than a pipe holds: it was read, so the command runs
        process.stdin.flush()
        # Let it wait for more: a signal that comes between two reads is seen after the next one.
        while left_in(process.stdin) or not is_asleep(process.pid):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (130, b"\ninterrupted\n")


def test_a_fault_is_70_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text("def command() -> None:\n    raise ZeroDivisionError\n")
    code = (
        "from isocenter.cli import main\nmain.COMMANDS['faulty'] = ('faulty', '')\n"
        "import sys; sys.argv = ['isocenter', 'faulty']; main.main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr
    assert "please report it" in done.stderr


@pytest.mark.parametrize("arguments", [["bogus"], ["dump"], ["dump", "--bogus"], ["settings", "--config", "no.toml"]])
def test_what_cannot_be_understood_is_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr != ""


def test_a_reader_that_has_enough_is_no_error() -> None:
    done = subprocess.run(
        [
            "bash",
            "-o",
            "pipefail",
            "-c",
            f'"{sys.executable}" -m isocenter.cli.main dump "{CT}" "{CT}" "{CT}" | head -1',
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.startswith("# ")) == (0, True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_settings_say_where_they_come_from(tmp_path: Path) -> None:
    config = tmp_path / "isocenter.toml"
    config.write_text('[dimse]\naet = "ELSEWHERE"\nport = 11112\n')
    done = run("settings", "--json", "--config", str(config), env={**os.environ, "ISOCENTER_WEB_PORT": "1"})
    shown = {row["name"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}
    assert shown["dimse.aet"] == ("ELSEWHERE", "file")
    assert shown["web.port"] == (1, "environment")
    assert shown["web.host"] == ("127.0.0.1", "default")
    assert run("settings").stdout.count("\n") > 30
