"""The part of a configuration that results depend on."""


def without_machine(config: dict) -> dict:
    """The configuration without the sections ``machine`` of the engines: where programs run changes no result.

    Keys are sorted: the order in which files define them does not matter either.
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
