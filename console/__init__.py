"""The command line: what each command asks of the rooms below, and how its answer looks on a screen."""
