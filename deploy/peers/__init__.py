"""What runs in the processes and environments of the peers: their server, and in it the service's own steps."""
