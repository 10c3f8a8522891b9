"""ipvlan by itself, as the CNI project's reference plugin has it: one file a mode."""
