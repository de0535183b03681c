"""Trouble on purpose: a real service and a real Prometheus here, a cause, and the alert that should tell of it."""
