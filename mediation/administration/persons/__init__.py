"""Who may ask: the roster's file, the gate of the control socket, and what is seen of those who read."""
