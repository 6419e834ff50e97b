"""Ranges of activations, from a stream of photographs: preprocessing, histograms, thresholds,
tables.
"""
