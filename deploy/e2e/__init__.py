"""A release's whole life on a real cluster, unattended and under load: `make e2e`."""
