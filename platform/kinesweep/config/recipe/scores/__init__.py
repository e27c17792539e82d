"""Settings of metrics with several keys of their own: BERTScore, caption metrics and judges."""
