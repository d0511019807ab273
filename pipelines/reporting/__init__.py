"""What a person looks at: the report, charts, ranked lists, montages."""
