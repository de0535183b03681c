"""The same model and images behind other serving systems, side by side: docs/peers.md."""
