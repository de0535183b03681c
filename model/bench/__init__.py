"""What is inside the service, measured beside what it replaces: engines, masks. `make bench` starts these processes."""
