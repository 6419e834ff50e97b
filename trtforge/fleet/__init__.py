"""Make the jobs of a CI service from a YAML file of models and devices."""
