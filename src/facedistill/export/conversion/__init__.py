"""What converters are given: the network as a graph that they write well."""
