"""Pages frozen on disk, and their way into bronze: freeze, seal, insert, commit, retire."""
