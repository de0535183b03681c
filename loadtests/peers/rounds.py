"""All servers under all loads, taking turns in rounds; what was found is kept as it comes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.peers import environments, records
from loadtests.peers.catalogue import BY_NAME
from loadtests.peers.environments import PeerUnavailable
from loadtests.peers.figures import goodputs_per_s
from loadtests.peers.job import Engine, Job
from loadtests.peers.launching import running
from loadtests.peers.loads import MODEL, Load, by_engine
from loadtests.peers.measuring import Bench, Pace, Unusable
from loadtests.peers.records import Failed, Record, Versions
from loadtests.pictures import SHIPPED

EQUAL_SHARE = 0.5
"""Of the best goodput: the rate at which everybody's waiting is compared."""
KNOWN_FACTOR = 1.25
"""Of the rates of a search that begins where an earlier one ended."""

Tell = Callable[[str], None]


@dataclass
class Comparison:
    """What is compared, and what is known."""

    servers: Sequence[str]
    loads: Sequence[Load]
    pace: Pace
    delay_ms: float
    """Of the fake engine, for each batch."""
    path: Path
    known: list[Record]
    """Of earlier runs: where searches begin, and which rates are equal."""
    tell: Tell

    def run(self, rounds: int) -> None:
        """Each round begins with another server, and every second one goes the other way round."""
        first_round = 1 + max((step.round for step in records.steps(self._found(), "search")), default=0)
        broken: set[tuple[str, Engine]] = set()
        self._keep([Versions(name, environments_of(name)) for name in self.servers if name in BY_NAME])
        for number in range(first_round, first_round + rounds):
            equal_per_s = self._equal_rates_per_s()
            order = self.servers if number % 2 else self.servers[::-1]
            for engine, loads in by_engine(self.loads).items():
                for name in order:
                    if (name, engine) not in broken and not self._measure(name, engine, loads, number, equal_per_s):
                        broken.add((name, engine))

    def _measure(
        self, name: str, engine: Engine, loads: Sequence[Load], number: int, equal_per_s: Mapping[str, float]
    ) -> bool:
        """Whether it could be measured."""
        job = Job(str(SHIPPED / MODEL), engine, self.delay_ms, max_batch_size=8, port=0, counts="")
        try:
            with running(name, job, loads[0].pictures()[0]) as server:
                for load in loads:
                    bench = Bench(name, load.name, server, load.pictures(), self._pace_of(name, load))
                    bench.warm()
                    goodput_per_s = bench.search(number, self._first_rate_per_s(name, load))
                    if load.name in equal_per_s:
                        bench.step(number, "equal", equal_per_s[load.name])
                    self._keep(bench.steps)
                    self.tell(f"round {number}: {name}, {load.name}: holds {goodput_per_s:.3g}/s")
        except (PeerUnavailable, Unusable) as error:
            self._keep([Failed(name, load.name, str(error)) for load in loads])
            self.tell(f"round {number}: {name}, {engine}: {error}")
            return False
        return True

    def _equal_rates_per_s(self) -> dict[str, float]:
        """By load: the rate used last, else a share of the best goodput; nothing where nothing was measured."""
        rates: dict[str, float] = {}
        for load in self.loads:
            found = [step for step in records.steps(self._everything(), "equal") if step.load == load.name]
            best_per_s = max(goodputs_per_s(self._everything(), load.name).values(), default=0.0)
            if found:
                rates[load.name] = found[-1].rate_per_s
            elif best_per_s:
                rates[load.name] = EQUAL_SHARE * best_per_s
        return rates

    def _first_rate_per_s(self, name: str, load: Load) -> float:
        return goodputs_per_s(self._everything(), load.name).get(name) or load.first_rate_per_s

    def _pace_of(self, name: str, load: Load) -> Pace:
        if not goodputs_per_s(self._everything(), load.name).get(name):
            return self.pace
        return Pace(self.pace.step_s, KNOWN_FACTOR, self.pace.resolution, self.pace.seed)

    def _everything(self) -> list[Record]:
        return [*self.known, *self._found()]

    def _found(self) -> list[Record]:
        return records.read(self.path)

    def _keep(self, found: Sequence[Record]) -> None:
        records.append(self.path, found)


def environments_of(name: str) -> dict[str, str]:
    """What is installed for a peer; nothing where that failed, which is told when it is started."""
    try:
        return environments.versions(BY_NAME[name])
    except PeerUnavailable:
        return {}
