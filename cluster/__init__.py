"""The cluster as the plugins see it (model), and the running lab."""
