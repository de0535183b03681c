"""The commands that make and judge models. Imported only when one of them is called."""

import typer

from model.calibrate_command import calibrate
from model.compare_classics_command import compare_classics
from model.evaluate_command import evaluate
from model.export_command import architectures, export
from model.proposals_command import app as proposals
from model.prune_command import prune
from model.quantise_command import quantise
from model.trade_off_command import trade_off
from model.train_command import train
from service.logs import configure_logs

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def quiet() -> None:
    """The service's own log lines would drown a command's output."""
    configure_logs("warning", "console")


app.command()(train)
app.command()(export)
app.command()(architectures)
app.command()(evaluate)
app.command("trade-off")(trade_off)
app.command()(calibrate)
app.command()(quantise)
app.command()(prune)
app.command()(compare_classics)
app.add_typer(proposals, name="proposals")
