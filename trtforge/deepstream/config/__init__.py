"""Describe a network in nvinfer's configuration."""
