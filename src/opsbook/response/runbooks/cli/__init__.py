"""What the command line says of runbooks and their runs."""
