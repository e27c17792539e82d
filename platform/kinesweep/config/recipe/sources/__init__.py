"""Recipe section `source`: kinds of corpora beside poses, videos, shards and skeletons."""
