"""Video models by `kind`, from the table below; each is loaded where it runs."""
