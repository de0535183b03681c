"""A whole single-node Kubernetes without Docker, inside namespaces of its own: `python -m deploy.cluster`."""
