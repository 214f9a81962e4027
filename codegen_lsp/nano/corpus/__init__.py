"""What nano learns from: collect, filter, tokenize and pack source files of permissively licensed packages."""
