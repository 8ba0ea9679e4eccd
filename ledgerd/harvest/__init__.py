"""The sources: what we poll upstream, and how each one knows where it stands."""
