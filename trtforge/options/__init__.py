"""From the command line's words to the pipeline's nouns, command by command."""
