"""A stand-in for `sign-language-datasets`: builders with the structure of its examples."""
