"""What of a configuration results come from."""


def without_machine(config: dict) -> dict:
    """The configuration without the sections ``machine`` of the engines: where programs run changes no result.

    Sections are in the order of their names: which file a key was read from first is no difference either.
    """
    dft = {
        name: _ordered({key: value for key, value in section.items() if key != "machine"})
        if isinstance(section, dict)
        else section
        for name, section in config["dft"].items()
    }
    return _ordered(config | {"dft": _ordered(dft)})


def _ordered(section: dict) -> dict:
    return dict(sorted(section.items()))
