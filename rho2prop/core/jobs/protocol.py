"""The part of a configuration that results depend on."""


def without_machine(config: dict) -> dict:
    """The configuration without what changes no result: sections ``machine`` in ``dft``, and ``chunk_size``.

    Keys are sorted: the order in which files define them does not matter either.
    """
    dft = {
        name: _ordered({key: value for key, value in section.items() if key != "machine"})
        if isinstance(section, dict)
        else section
        for name, section in config["dft"].items()
        if name != "machine"
    }
    sections = {"dft": _ordered(dft)}
    if "features" in config:
        sections["features"] = {key: value for key, value in config["features"].items() if key != "chunk_size"}
    return _ordered(config | sections)


def _ordered(section: dict) -> dict:
    return dict(sorted(section.items()))
