"""The console's shell: layout, sign-in, live updates, and the pages that look over all rooms."""
