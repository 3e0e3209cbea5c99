"""Model cards, one JSON file per model of a provider. Data only."""
