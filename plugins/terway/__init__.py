"""terway (Alibaba Cloud): one file a mode."""
