"""Networks, and the names of those that learn properties; nothing is imported here, torch takes seconds."""

ATTENTION_CNN, MULTISCALE_CNN, GRAPH_NETWORK = "attention_cnn", "multiscale_cnn", "graph_network"
