"""Model repositories for Triton and nvinferserver."""
