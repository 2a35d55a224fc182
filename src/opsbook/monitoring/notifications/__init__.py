"""From a decided notification to a message that was taken: wording, channels, tries."""
