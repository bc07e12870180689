"""What every function but the core stands on: configuration, logs, clocks, durable files, confinement."""
