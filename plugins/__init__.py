"""Built-in adapters, one flat module per provider. The core never imports them: stevedore does."""
