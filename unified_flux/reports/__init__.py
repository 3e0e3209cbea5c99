"""Tables, charts and pages made from comparisons and from the journal."""
