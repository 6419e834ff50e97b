"""What nvinfer's configuration says about a network."""
