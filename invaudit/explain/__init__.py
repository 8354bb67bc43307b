"""What a network has learned, seen through inversion: borders, adversarial samples, masks, and measures of them."""
