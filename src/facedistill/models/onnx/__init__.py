"""ONNX graphs of any origin: what they take, which output is the embedding, what they do inside."""
