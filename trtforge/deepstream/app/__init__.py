"""A whole pipeline for deepstream-app."""
