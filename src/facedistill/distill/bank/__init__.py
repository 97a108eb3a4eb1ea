"""The bank: a teacher's embeddings on disk, and what is found in them."""
