"""Dashboards as code: typed Python in, Grafana JSON out, committed where the chart picks it up."""
