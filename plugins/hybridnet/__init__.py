"""hybridnet (Alibaba): one file a mode."""
