"""What we say to GGG and what GGG answers: the HTTP client and its pace."""
