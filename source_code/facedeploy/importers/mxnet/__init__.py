"""MXNet: the symbol (`X-symbol.json`) and its parameters (`X-0000.params`)."""
