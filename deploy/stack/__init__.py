"""The service with a real Prometheus beside it and a little traffic, in one step."""
