"""The commands, as other people run them."""
