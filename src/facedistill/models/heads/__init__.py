"""What sits on an embedding: class heads, margins, landmarks."""
