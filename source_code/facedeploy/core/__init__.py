"""The nouns that flow through every stage. Depends on numpy only."""
