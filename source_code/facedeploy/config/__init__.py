"""YAML and JSON become typed values, or one clear error."""
