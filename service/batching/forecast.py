"""How long a caller will be inside: what is ahead of it, corrected by how wrong such predictions have been."""

_CALM, _MOST_STRETCH = 1.25, 5.0
_UP, _DOWN = 1.05, 0.9974  # in balance when 5 % of the callers stay longer than predicted


class Forecast:
    """
    Learns from every caller that was answered. Times are seconds.

    The correction follows the 95th percentile of actual by predicted, by stochastic approximation (Robbins and Monro,
    1951): a step up after each caller that stayed longer than predicted, one 19 times smaller down after the others.
    """

    def __init__(self) -> None:
        self.stretch = _CALM
        self.outside_s = 0.0  # mean time a caller spends before and after the queue: decoding, encoding

    def stay_s(self, ahead_s: float, own_s: float) -> float:
        """How long a caller with ahead_s of work before its own will be inside, in all but one case of twenty."""
        return (ahead_s + own_s) * self.stretch + self.outside_s

    def learn(self, ahead_s: float, own_s: float, queued_s: float, outside_s: float) -> None:
        """A caller was answered: queued_s from entering the queue to its result, outside_s for the rest."""
        self.outside_s += 0.1 * (outside_s - self.outside_s)
        if ahead_s > 0:  # alone, nothing is learned about waiting
            late = queued_s > (ahead_s + own_s) * self.stretch
            self.stretch = min(max(self.stretch * (_UP if late else _DOWN), 1.0), _MOST_STRETCH)
