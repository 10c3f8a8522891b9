"""calico: one file a mode."""
