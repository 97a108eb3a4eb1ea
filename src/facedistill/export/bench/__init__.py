"""Latency and memory, each network in a fresh process."""
