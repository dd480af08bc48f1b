"""`ConvAutoencoder`, what it came from, and what watches its training."""
