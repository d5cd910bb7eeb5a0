"""What kind of point one stands on, what a function looks like, and how a method descends it."""
