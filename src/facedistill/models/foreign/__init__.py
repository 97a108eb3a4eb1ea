"""Networks trained elsewhere: their files, the layouts of their weights, and what they become."""
