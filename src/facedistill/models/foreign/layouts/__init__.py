"""How public trainers name the weights of their networks: one file a family of names."""
