"""bifrost (HarmonyCloud): one file a mode."""
