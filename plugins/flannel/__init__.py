"""flannel: one file a backend."""
