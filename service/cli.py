"""The `rcnn` command. Model and deploy commands are imported only when they are called: a pod has no torch."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from service.api.options import VersionedOptions
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
    import uvloop

    from service.app import Service
    from service.logs import configure_logs
    from service.security.audit import configure_audit

    settings = _settings(config, **flags)
    configure_logs(settings.log_level, settings.log_format)
    configure_audit(settings.audit_log, settings.release)

    async def run() -> None:
        code = await Service(settings).serve()
        # A thread that still loads, or hangs, would keep the interpreter from ending.
        sys.stderr.flush()
        os._exit(code)

    uvloop.run(run())


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key: lower-case letters, digits and dashes.")],
    scope: Annotated[list[str] | None, typer.Option(help="detect, admin or metrics; may be repeated.")] = None,
) -> None:
    """Make an API key: shown once on stderr; the entry for the file of `--api-keys`, without the key, on stdout."""
    from service.security.api_keys import entry_of, new_key

    try:
        made, digest = new_key(name)
        entry = entry_of(name, digest, scope or ["detect"])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(entry)
    typer.echo(f"{made}", err=True)


def _settings(config: Path | None = None, **flags: Any) -> Settings:
    """The settings, or a line for each that is wrong and exit 2."""
    try:
        return read_settings(config, **flags)
    except (ValidationError, SettingsError) as error:
        problems = error.errors() if isinstance(error, ValidationError) else []
        for problem in problems:
            where = (
                f" {problem['loc'][0]}: {problem['msg']}, got {problem['input']!r}"
                if problem["loc"]
                else f"s: {problem['msg']}"
            )
            typer.echo(f"rcnn: setting{where}", err=True)
        if not problems:
            typer.echo(f"rcnn: settings: {error}", err=True)
        raise typer.Exit(USAGE) from error


def _with_detect_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give command one option for each option of a request, explained by its own words."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    taken, options = {p.name for p in own}, []
    for name, field in VersionedOptions.model_fields.items():
        if name in taken:  # such as format: the command has its own
            continue
        kind = bool if field.annotation is bool else str
        flag = f"--{name.replace('_', '-')}"
        option = typer.Option(flag, help=field.description, show_default=False)
        options.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
            )
        )
    command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
    return command


@app.command()
@_with_detect_options
def detect(
    images: Annotated[
        list[str],
        typer.Argument(help="Image files, folders, quoted globs, or - for one image on stdin.", metavar="IMAGE..."),
    ],
    url: Annotated[
        str | None, typer.Option(help="A running service, such as http://localhost:8000. Default: in this process.")
    ] = None,
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Load this bundle here; may be repeated. Default: the shipped ones.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model name; the default model if left out.")] = None,
    format: Annotated[
        Literal["summary", "jsonl", "coco", "pictures"],
        typer.Option(help="A sentence an image, JSON lines, COCO results, or PNGs with everything drawn."),
    ] = "summary",
    out: Annotated[
        Path | None, typer.Option(help="File for the answers instead of stdout; folder for pictures.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="COCO annotation file whose image and category ids to use.", exists=True)
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Images under way at once.")] = 4,
    timeout_s: Annotated[
        float, typer.Option(min=0.001, help="How long an image may take, and be offered again while it is refused.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    **options: Any,
) -> None:
    """Find objects in many images, in order; exit 1 if any of them failed. Refused images wait as they are told to."""
    from service.detect_files import command
    from service.logs import configure_logs

    configure_logs("warning", "console")
    if url and bundle:
        raise typer.BadParameter("--url and --bundle exclude each other: ask a service, or load models here")
    if as_json and format not in ("summary", "jsonl"):
        raise typer.BadParameter(f"--json and --format {format} exclude each other")
    where = url or _settings(bundles=tuple(bundle) if bundle else None)
    chosen = {name: _split(name, value) for name, value in options.items() if value is not None}
    wish = command.Wish(images, where, model, chosen, "jsonl" if as_json else format, out, annotations, jobs, timeout_s)
    try:
        failed = command.detect(wish)
    except command.UsageError as error:
        raise typer.BadParameter(str(error)) from error
    if failed:
        raise typer.Exit(FAILURE)


def _split(name: str, value: Any) -> Any:
    """Lists are written with commas on a command line."""
    is_list = get_origin(VersionedOptions.model_fields[name].annotation) is list
    return [part.strip() for part in value.split(",") if part.strip()] if is_list else value


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def drift(context: typer.Context) -> None:
    """Hold what a running service sees against what its models were judged on."""
    from service.drift_command import app as commands

    commands(context.args, prog_name="rcnn drift")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def samples(context: typer.Context) -> None:
    """List and open the images and answers kept for review."""
    from service.samples_command import app as commands

    commands(context.args, prog_name="rcnn samples")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def train(context: typer.Context) -> None:
    """Train a model on labelled images."""
    _run_model_command("train", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def export(context: typer.Context) -> None:
    """Turn trained weights into a bundle."""
    _run_model_command("export", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def architectures(context: typer.Context) -> None:
    """List the architectures that can be exported, with the evidence for each."""
    _run_model_command("architectures", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def evaluate(context: typer.Context) -> None:
    """Measure a bundle on labelled images, through the path it is served by."""
    _run_model_command("evaluate", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def calibrate(context: typer.Context) -> None:
    """Make the scores of a bundle honest; choose thresholds for a wanted precision or recall."""
    _run_model_command("calibrate", context)


@app.command(
    "trade-off", context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def trade_off(context: typer.Context) -> None:
    """AP against latency and size for variants of a bundle: a table and a plot."""
    _run_model_command("trade-off", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def quantise(context: typer.Context) -> None:
    """Make an int8 bundle of one, if that costs no more AP than allowed."""
    _run_model_command("quantise", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def prune(context: typer.Context) -> None:
    """Take out the channels that matter least; `rcnn train` then makes up for what was lost."""
    _run_model_command("prune", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def proposals(context: typer.Context) -> None:
    """Regions that may hold objects: selective search into a file, and the recall of such files."""
    _run_model_command("proposals", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def compare_classics(context: typer.Context) -> None:
    """R-CNN, SPPnet, Fast and Faster R-CNN trained and judged side by side."""
    _run_model_command("compare-classics", context)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def gate(context: typer.Context) -> None:
    """Judge a release: promote (exit 0), rollback (1) or undecided (3)."""
    try:
        commands = importlib.import_module("deploy.judge.commands")
        commands.app(context.args, prog_name="rcnn gate")
    except ImportError as error:
        typer.echo(f"rcnn gate: a package is missing ({error}); install rcnn[gate,train]", err=True)
        raise typer.Exit(USAGE) from error


def _run_model_command(name: str, context: typer.Context) -> None:
    try:
        commands = importlib.import_module("model.commands")
    except ImportError as error:
        typer.echo(f"rcnn {name}: needs the training packages ({error}); install rcnn[train]", err=True)
        raise typer.Exit(USAGE) from error
    commands.app([name, *context.args], prog_name="rcnn")


if __name__ == "__main__":
    main()
