"""Recipe section `features`: kinds of features in modules of their own."""
