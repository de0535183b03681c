"""`rcnn gate`: may a release go out? Exit 0 promote, 1 roll back, 2 usage, 3 undecided."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.judge.verdict import Verdict
from service.logs import configure_logs

app = typer.Typer(name="rcnn gate", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

Key = Annotated[
    Path | None, typer.Option(help="Ed25519 private key (PEM) that signs the verdict.", exists=True, dir_okay=False)
]
Out = Annotated[Path | None, typer.Option(help="Folder that gets verdict.json and report.html.", file_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the verdict as JSON instead of sentences.")]


@app.callback()
def gate() -> None:
    """May this release go out? Three answers: promote (exit 0), rollback (1), undecided (3)."""
    configure_logs("warning", "console")


@app.command()
def bundle(
    new: Annotated[Path, typer.Argument(help="The bundle that wants to go out.")],
    against: Annotated[Path, typer.Option(help="The bundle it would replace.")],
    data: Annotated[Path, typer.Option(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split to judge on.")] = "val",
    engine: Annotated[str, typer.Option(help="auto, onnx or openvino.")] = "auto",
    ap_drop: Annotated[float, typer.Option(min=0, help="AP that may be lost.")] = 0.01,
    slowdown: Annotated[float, typer.Option(min=0, help="Work per image allowed, new over old.")] = 1.2,
    growth: Annotated[float, typer.Option(min=0, help="Bytes on disk allowed, new over old.")] = 1.25,
    out: Out = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Judge a bundle on labelled images before it sees any traffic: AP, latency, size, agreement."""
    from deploy.judge.bundle_gate import Limits, judge_bundle
    from deploy.judge.exhibits import worst
    from deploy.judge.report import write_report
    from model.datasets import DatasetInvalid, read_dataset
    from model.terminal import failure, progress_bar
    from service.bundle import read_bundle
    from service.errors import BundleInvalid

    try:
        masks = read_bundle(against).manifest.task == "segmentation"
        images = read_dataset(data, split, masks=masks)
        with progress_bar() as progress:
            judged = judge_bundle(new, against, images, engine, Limits(ap_drop, slowdown, growth), progress)
    except (DatasetInvalid, BundleInvalid, OSError) as error:
        failure(error)
        raise typer.Exit(3) from error  # what there is to judge by is broken: that is nobody's rollback
    if out:
        write_report(out / "report.html", judged.verdict, judged.differences, worst(judged.compared))
    give(judged.verdict, out, key, as_json)


@app.command()
def verify(
    verdict: Annotated[Path, typer.Argument(help="A verdict.json.", exists=True)],
    key: Annotated[Path, typer.Option(help="The judge's public key (PEM).", exists=True)],
) -> None:
    """Check that a verdict is unchanged and was signed by the holder of a key; exit 1 if not."""
    from deploy.judge.signature import SignatureInvalid
    from deploy.judge.signature import verify as verify_signature

    try:
        document = verify_signature(json.loads(verdict.read_text()), key)
    except SignatureInvalid as error:
        typer.echo(f"rcnn: {verdict}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{document['decision']}, signed")


def give(verdict: Verdict, out: Path | None, key: Path | None, as_json: bool) -> None:
    """Write and say the verdict, then exit with its code."""
    document = verdict.document()
    if key:
        from deploy.judge.signature import signed

        document = signed(document, key)
    text = json.dumps(document, indent=2)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "verdict.json").write_text(text + "\n")
    if as_json:
        typer.echo(text)
    else:
        for finding in verdict.findings:
            typer.echo(f"{finding.state:5}  {finding.name}: {finding.sentence}")
        for reason in verdict.unfit:
            typer.echo(f"unfit  {reason}")
        typer.echo(verdict.decision.value)
    raise typer.Exit(verdict.decision.exit_code)
