"""What passes between processes: X1, X2 and X3, the delivery link, the control socket, the spool's records."""
