"""Next item on public sequences, in full ranking: the product's backbone, trainer and top k on data that others publish on."""
