"""The command line `tsfmicro-lab`: a file for each group of commands; they print what library functions return."""

import typer

from tsfmicro_lab.cli import data
from tsfmicro_lab.cli.doctor import doctor
from tsfmicro_lab.cli.output import PlainErrors
from tsfmicro_lab.cli.results import results, score, verify
from tsfmicro_lab.cli.run import analyze_video, demo, evaluate

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
