"""The command line `tsfmicro-lab`: a file for each group of commands; they print what library functions return."""

from typing import Any

import typer
from typer.core import TyperCommand

from tsfmicro_lab.cli import data
from tsfmicro_lab.cli.doctor import doctor
from tsfmicro_lab.cli.output import PlainErrors, study
from tsfmicro_lab.cli.results import results, score, verify
from tsfmicro_lab.cli.run import analyze_video, demo, evaluate

#: Studies of the course that are commands, too.
STUDIES = {
    "plan": "Tell what an evaluation will cost in time, memory and disk, and what would cost less, before it runs.",
    "reproduce": "Train by a paper's recipe on your own copy: honest, leaky and published, side by side.",
}


class Study(TyperCommand):
    """A study as a command: it is imported when it is called, so that the help of all commands needs no PyTorch."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Reads the arguments as the study tells."""
        command = typer.main.get_command(study(str(info_name)).app)
        return command.make_context(info_name, args, parent, **extra)


app = typer.Typer(
    cls=PlainErrors,
    help="Learn, explore and check micro-expression recognition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.command(name="analyze")(analyze_video)
for command in (demo, evaluate, score, results, verify, data.notebooks, doctor):
    app.command()(command)
for name, told in STUDIES.items():
    app.command(name=name, help=told, cls=Study)(lambda: None)
