"""SQL from people: judged by the engine's own parser before it runs."""
