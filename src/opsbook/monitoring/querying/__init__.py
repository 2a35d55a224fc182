"""Questions in PromQL from outside: what they may say, and how the answers are written."""
