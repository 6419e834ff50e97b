"""Configuration files of nvinfer and deepstream-app: text, groups, keys and typed values."""
