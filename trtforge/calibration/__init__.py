"""Find the ranges of activations on a stream of photographs.

The way of an image: ``images`` (preprocessing) -> ``collect`` (the network runs) -> ``histogram``
(magnitudes are counted) -> ``threshold`` (a range is chosen) -> ``ranges`` and ``cache`` (tables).
"""
