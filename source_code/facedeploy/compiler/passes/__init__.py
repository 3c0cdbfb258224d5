"""Passes of our own over Relax modules, one a file; `compiler.pipeline` says in which order they run."""
