"""Batching policies side by side in simulated time; `python -m deploy.simulate` draws the plots of docs/batching.md."""
