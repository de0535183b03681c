"""What came of the story: written down, drawn and said."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from deploy.e2e.accounts import Account, account, exposure
from deploy.e2e.picture import draw
from deploy.e2e.timeline import Sample, Timeline
from deploy.e2e.traffic import Asked


def tell(
    timeline: Timeline, asked: Mapping[str, Sequence[Asked]], erring: Collection[str], problem: str, out: Path
) -> bool:
    """
    Write timeline.json and timeline.png, say how every request ended and whether all accounts are clean.

    asked: {stream: its requests}; the first stream is the canary's.
    """
    main, *others = asked.values()
    for act in timeline.acts:
        if "release" in act.facts:
            act.facts["callers"] = exposure(main, str(act.facts["release"]), act.began, act.ended)
            act.facts["had a weight for, s"] = round(weighed_s(timeline.between(act.began, act.ended)))
            print(f"{act.name}: {act.facts['callers']}, a weight for {act.facts['had a weight for, s']} s")
    accounts = {name: account(requests, erring) for name, requests in asked.items()}
    told = {name: asdict(each) for name, each in accounts.items()}
    timeline.write(out / "timeline.json", accounts=told, problem=problem)
    draw(timeline.acts, timeline.samples, main, [one for each in others for one in each], out / "timeline.png")
    for name, each in accounts.items():
        print(_sentence(name, each))
    print(f"the story ended early: {problem}" if problem else "every act passed")
    return all(each.is_clean for each in accounts.values())


def weighed_s(samples: Sequence[Sample]) -> float:
    """From the first sample with a weight to the first one after it without."""
    weighed = [sample.at for sample in samples if sample.weight]
    if not weighed:
        return 0.0
    after = (sample.at for sample in samples if sample.at > weighed[-1])
    return next(after, weighed[-1]) - weighed[0]


def _sentence(name: str, one: Account) -> str:
    failed = ", ".join(f"{count} {what}" for what, count in one.machinery.items()) or "none"
    counts = f"{one.sent} sent, {one.answered} answered, {one.candidate_errors} errors of a candidate's own"
    return f"{name}: {counts}; failed by the machinery: {failed}"
