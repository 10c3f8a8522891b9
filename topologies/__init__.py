"""The underlay: lab files and presets, their wanted state, and Mininet's view of it."""
