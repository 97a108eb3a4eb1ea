"""Pairs with altered images: masked, shrunk, blurred."""
