"""Load over the wire: what a client sees of a running service. Imports nothing of service/ or model/."""
