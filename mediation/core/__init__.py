"""Sans-I/O: no trio, socket, os, time, random or logging here. The time and the keys are arguments."""
