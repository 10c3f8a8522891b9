"""Bring-up benchmark, throughput and latency between pods."""
