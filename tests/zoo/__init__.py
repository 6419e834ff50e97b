"""A zoo of files that real exporters write, and the checks that trtforge has to pass on each."""
