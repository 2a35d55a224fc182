"""What becomes of alerts that fire: whom to tell, when, and when not."""
