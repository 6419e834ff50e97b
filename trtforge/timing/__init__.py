"""Timing networks: one module for each runtime, one loop for all."""
