"""The command line: names of commands to the modules that hold them, and what all of them have in common.

A module is imported when its command is called, so that `isocenter --help` and the shell stay quick. Each has a
function `command`, whose parameters Typer turns into arguments and options. An IsocenterError that leaves it becomes a
message, a hint and an exit code here; so does Ctrl-C.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from isocenter.cli import exit_codes
from isocenter.errors import IsocenterError

# name: (module, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("isocenter.cli.serve", "Run the archive: DIMSE, DICOMweb and the viewer."),
    "import": ("isocenter.cli.import_", "Put files, folders and zips into an archive."),
    "receive": ("isocenter.cli.receive", "Receive objects over DIMSE into a folder."),
    "echo": ("isocenter.cli.echo", "Ask a peer whether it answers (C-ECHO)."),
    "store": ("isocenter.cli.store", "Send objects to a peer (C-STORE)."),
    "commit": ("isocenter.cli.commit", "Ask a peer to answer for objects (Storage Commitment)."),
    "find": ("isocenter.cli.find", "Search a peer for patients, studies, series or images (C-FIND)."),
    "get": ("isocenter.cli.get", "Retrieve objects from a peer into a folder (C-GET)."),
    "move": ("isocenter.cli.move", "Have a peer send objects to another one (C-MOVE)."),
    "jobs": ("isocenter.cli.jobs", "Show, retry and cancel what is to be done for peers."),
    "dump": ("isocenter.cli.dump", "Show what is in a DICOM file, damaged ones as far as they go."),
    "render": ("isocenter.cli.render", "Make pictures of DICOM files: PNG, JPEG, WebP or the terminal."),
    "volume": ("isocenter.cli.volume", "Make volumes of series: NIfTI, NRRD, or a list of gaps and tilt."),
    "transcode": ("isocenter.cli.transcode", "Write DICOM files in another transfer syntax, compressed or not."),
    "create": ("isocenter.cli.create", "Make DICOM objects from arrays and pictures."),
    "user": ("isocenter.cli.user", "Add users who may open associations."),
    "token": ("isocenter.cli.token", "Make, list and revoke bearer tokens for DICOMweb."),
    "check": ("isocenter.cli.check", "Verify every stored byte and the index; rebuild the index."),
    "settings": ("isocenter.cli.settings", "Show every setting, its value and where it comes from."),
}

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"{code:>5}  {text}" for code, text in exit_codes.SHORT.items())


class LazyGroup(TyperGroup):
    """Imports a command's module when the command is called, and for nothing else."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])
        return load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except IsocenterError as error:
            from isocenter.cli.output import fail

            fail(error)
            raise typer.Exit(exit_codes.of(error)) from None
        except KeyboardInterrupt:
            sys.stderr.write("\ninterrupted\n")
            raise typer.Exit(exit_codes.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader (head, less) has enough. Python would complain once more when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(exit_codes.OK) from None


def load(name: str) -> Any:
    """The command `name`, its module imported."""
    module, summary = COMMANDS[name]
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    function = importlib.import_module(module).command
    single.command(name, help=function.__doc__ or summary)(function)
    return typer.main.get_command(single)


def _version(wanted: bool) -> None:
    if wanted:
        from isocenter import __version__

        sys.stdout.write(f"isocenter {__version__}\n")
        raise typer.Exit


app = typer.Typer(
    name="isocenter",
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A complete DICOM system: archive, DIMSE services, DICOMweb and viewer.",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Show the version.", is_eager=True, callback=_version),
) -> None:
    pass


def main() -> None:
    """The entry point `isocenter`."""
    # Nearly all that a command makes while it starts stays: to look it through for cycles each time 700 objects have
    # been made, as Python does by itself, was a tenth of a short command.
    gc.set_threshold(10_000)
    try:
        app()
    except Exception:  # noqa: BLE001 - the last frame: nothing may end without its documented code
        import traceback

        traceback.print_exc()
        sys.stderr.write("This is a fault in Isocenter; please report it with the lines above.\n")
        sys.exit(exit_codes.FAULT)
    finally:
        gc.freeze()  # at its end the interpreter looks for cycles in all that was imported: a tenth of a short command


if __name__ == "__main__":
    main()
