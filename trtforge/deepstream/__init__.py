"""Write and check the files that DeepStream reads: nvinfer's configuration, labels, a pipeline."""
