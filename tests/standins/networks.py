"""Small settings of networks, with the ranges of the search that config.yaml has."""

from pathlib import Path

import yaml

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))


def cnn_section(**changes) -> dict:
    """Section ``attention_cnn`` of the configuration with changes."""
    return CONFIG["attention_cnn"] | changes


def graph_network_section(**changes) -> dict:
    """Section ``graph_network`` of the configuration with changes."""
    return CONFIG["graph_network"] | changes
