"""Training of networks: targets, augmentation, losses, lazily drawn patches, validation, and the loop around them."""
