"""Images as small files and back."""
