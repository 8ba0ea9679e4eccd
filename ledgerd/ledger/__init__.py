"""What the API serves: gold in memory, with its age."""
