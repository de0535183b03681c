"""How long a caller will be inside: what is ahead of it, corrected by how wrong such predictions have been."""

_FRESH = 0.03  # weight of the latest caller: about the last 30 count


class Forecast:
    """
    Learns from every caller that was answered. Times are seconds.

    The correction is the mean error of the prediction plus two mean deviations, both running: so TCP sets its
    retransmission timer (Jacobson, Congestion Avoidance and Control, 1988). Under an overload everybody let in is close
    to its deadline, and the engine moves on by whole batches: it is never less than the mean error plus one of them.
    """

    def __init__(self) -> None:
        self.outside_s = 0.0  # mean time a caller spends before and after the queue: decoding, encoding
        self._error_s = self._deviation_s = 0.0

    def stay_s(self, ahead_s: float, own_s: float) -> float:
        """
        How long a caller with ahead_s of work before its own is inside, save for about one in a hundred.

        With less than a batch ahead no correction applies: however dark the past, the engine is kept busy.
        """
        if ahead_s <= own_s:
            return ahead_s + own_s
        correction_s = self._error_s + max(2 * self._deviation_s, own_s)
        return max(ahead_s + own_s + correction_s, 2 * own_s) + self.outside_s

    def learn(self, ahead_s: float, own_s: float, queued_s: float, outside_s: float) -> None:
        """A caller was answered: queued_s from entering the queue to its result, outside_s for the rest."""
        self.outside_s += _FRESH * (outside_s - self.outside_s)
        if ahead_s > 0:  # alone, nothing is learned about waiting
            error_s = queued_s - ahead_s - own_s - self._error_s
            self._error_s += _FRESH * error_s
            self._deviation_s += _FRESH * (abs(error_s) - self._deviation_s)
