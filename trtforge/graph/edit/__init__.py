"""Edits that every rewrite is made of, and the edits that a recipe may ask for."""
