"""What of a configuration results come from."""


def without_machine(config: dict) -> dict:
    """The configuration without the sections ``machine`` of the engines: where programs run changes no result."""
    dft = {
        name: {key: value for key, value in section.items() if key != "machine"}
        if isinstance(section, dict)
        else section
        for name, section in config["dft"].items()
    }
    return config | {"dft": dft}
