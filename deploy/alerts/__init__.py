"""Objectives in, Prometheus rules out: typed Python, committed as YAML where the chart picks it up."""
