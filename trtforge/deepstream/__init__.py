"""What DeepStream reads: nvinfer's configuration, labels, a pipeline."""
