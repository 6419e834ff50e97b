"""C++ output parsers for nvinfer, written for one detector."""
