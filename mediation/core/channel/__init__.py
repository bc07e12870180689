"""The call content channel (CCC) of an order: when it is open, what passes, and the digits heard in it."""
