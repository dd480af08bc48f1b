"""Files: written whole or not at all, and read as untrusted; and the model file."""
