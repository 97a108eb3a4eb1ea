"""Terms of the loss, one method a file."""
