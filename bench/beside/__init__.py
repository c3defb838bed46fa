"""The benchmark beside the peers: see README.md above, and peers.py for the command."""
