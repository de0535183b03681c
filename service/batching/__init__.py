"""
Admit, gather, run, scatter. Knows neither images nor ONNX.

Read in this order: queue.py (who waits), policy.py (which batch goes next), schedule.py (the two, with admission and
retries, as one pure object), batcher.py (the loop around it). cost.py and forecast.py: what it has learned.
"""

from service.batching.batcher import Batcher, BatchObserver
from service.batching.policy import Budget
from service.batching.schedule import Ticket

__all__ = ["BatchObserver", "Batcher", "Budget", "Ticket"]
