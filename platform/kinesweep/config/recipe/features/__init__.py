"""Recipe section `features`: the kinds of features that have a module of their own."""
