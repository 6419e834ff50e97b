benchmark: bool
