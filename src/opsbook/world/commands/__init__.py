"""Scripts, run where they are meant to: here, in an instance, on other machines."""
