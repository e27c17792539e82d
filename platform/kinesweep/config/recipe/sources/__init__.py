"""Recipe section `source`: kinds of corpora, and sources derived from others, in own modules."""
