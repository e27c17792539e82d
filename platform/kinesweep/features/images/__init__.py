"""Features of images, and of texts and SignWriting that are drawn as images."""
