"""PromQL: the language of metrics, parsed and evaluated; pure."""
