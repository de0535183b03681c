"""The `rcnn` command. Model and deploy commands are imported only when they are called: a pod has no torch."""

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from service.errors import ServiceError
from service.settings import Settings, read_settings

USAGE, FAILURE = 2, 1

app = typer.Typer(
    name="rcnn",
    help="Serve, try, train, export and judge Faster R-CNN and Mask R-CNN models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit 0 yes, 1 no, 2 usage, 3 undecided."""
    try:
        app(arguments)
    except (ServiceError, OSError) as error:
        typer.echo(f"rcnn: {error}", err=True)
        sys.exit(FAILURE)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give command one option for each setting, explained by the setting's own words."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [_option(name, field) for name, field in Settings.model_fields.items()]
    command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
    return command


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    default = field.get_default(call_default_factory=True)
    shown = "the shipped models" if name == "bundles" else str(default)
    option = typer.Option(f"--{name.replace('_', '-')}", help=field.description, show_default=shown, envvar=None)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


@app.command()
@_with_settings
def serve(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings by the names below.", exists=True)
    ] = None,
    **flags: Any,
) -> None:
    """Serve models over REST and gRPC until SIGTERM. Every option is also an environment variable RCNN_<NAME>."""
    from service.app import Service
    from service.logs import configure_logs

    try:
        settings = read_settings(config, **flags)
    except ValidationError as error:
        for problem in error.errors():
            where = (
                f" {problem['loc'][0]}: {problem['msg']}, got {problem['input']!r}"
                if problem["loc"]
                else f"s: {problem['msg']}"
            )
            typer.echo(f"rcnn: setting{where}", err=True)
        raise typer.Exit(USAGE) from error
    configure_logs(settings.log_level, settings.log_format)

    async def run() -> None:
        await Service(settings).serve()

    asyncio.run(run())


@app.command()
def detect(
    images: Annotated[list[Path], typer.Argument(help="Image files.", metavar="IMAGE...")],
    url: Annotated[
        str | None, typer.Option(help="A running service, such as http://localhost:8000. Default: in this process.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model name; the default model if left out.")] = None,
    score_threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Least score reported.")] = None,
    masks: Annotated[str, typer.Option(help="none, rle, polygon or png.")] = "none",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a summary.")] = False,
) -> None:
    """Find objects in image files; exit 1 if any of them failed."""
    from service.detect_files import detect_files
    from service.logs import configure_logs

    configure_logs("warning", "console")

    options = {"score_threshold": score_threshold, "masks": masks}
    chosen = {name: value for name, value in options.items() if value is not None}
    if not asyncio.run(detect_files(images, url, model, chosen, as_json)):
        raise typer.Exit(FAILURE)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def train(context: typer.Context) -> None:
    """Train a model on labelled images."""
    _run_model_command("train", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def export(context: typer.Context) -> None:
    """Turn a trained checkpoint into a bundle."""
    _run_model_command("export", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def evaluate(context: typer.Context) -> None:
    """Measure a bundle on labelled images, through the path it is served by."""
    _run_model_command("evaluate", context)


def _run_model_command(name: str, context: typer.Context) -> None:
    try:
        commands = importlib.import_module("model.commands")
    except ImportError as error:
        typer.echo(f"rcnn {name}: needs the training packages ({error}); install rcnn[train]", err=True)
        raise typer.Exit(USAGE) from error
    commands.app([name, *context.args], prog_name="rcnn")


if __name__ == "__main__":
    main()
