"""From one YAML of models and devices to the jobs of a CI service."""
